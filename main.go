// Command sitesync uploads what a studio publishes to its remote site.
package main

func main() {}
