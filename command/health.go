package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"sitesync/config"
)

type healthCmd struct {
	Ready bool `help:"Ask whether it is ready (/readyz), not whether it works (/healthz)."`
}

func (healthCmd) Help() string {
	return `Examples:
  sitesync health
  sitesync health --ready

It needs the address of --listen or SITESYNC_LISTEN, and no presets.

The exit status is 0 if the answer is good, 1 if it is bad or there is none. For health checks of containers, where
there is no shell and no curl: docker exec sitesync /sitesync health.`
}

func (h healthCmd) Run(ctx context.Context, flags *config.Flags) error {
	// No other setting is needed, nor valid presets: this is about the process that runs.
	listen, err := config.Listen(*flags, os.LookupEnv)
	if err != nil {
		return err
	}
	if listen == "" {
		return errors.New("nothing is served, as listen is off; set an address by --listen or SITESYNC_LISTEN, " +
			"here and for sitesync run")
	}
	path := "/healthz"
	if h.Ready {
		path = "/readyz"
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second) // a healthy sitesync answers at once
	defer cancel()
	url := "http://" + reachable(listen) + path
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("no sitesync answers: %w", err)
	}
	// It is on this machine, so no proxy is asked.
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("no sitesync answers: %w", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err == nil && !json.Valid(body) {
		err = fmt.Errorf("something other than sitesync answers at %s", url)
	}
	if err != nil {
		return fmt.Errorf("no sitesync answers: %w", err)
	}
	fmt.Println(string(bytes.TrimSpace(body)))
	if res.StatusCode != http.StatusOK {
		return errFailed
	}
	return nil
}

// reachable is where something that listens so can be reached on this machine.
func reachable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen // the request fails then
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}
