// Command sitesync uploads what a studio publishes with Pype to its Google Drive, within milliseconds.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"sitesync/command"
)

func main() {
	os.Exit(command.Main(signalContext(), os.Args[1:]))
}

// signalContext returns a context that the first SIGTERM or SIGINT ends. A second one ends the process at once.
func signalContext() context.Context {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-signals
		cancel()
		<-signals
		os.Exit(1)
	}()
	return ctx
}
