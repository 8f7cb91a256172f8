// Package mongodb connects to the studio's MongoDB, and knows what the driver reports of its servers. It knows no
// document.
package mongodb
