package drive

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"sync"

	"sitesync/integration/certs"
)

// googleHosts are the hosts that a proxy stands in for.
var googleHosts = []string{"www.googleapis.com", "oauth2.googleapis.com"}

// Proxy is an HTTPS proxy on 127.0.0.1 that answers for Google's hosts with the
// emulator, for programs whose endpoint can't be set, such as rclone. Every
// other host is refused. A program uses it by HTTPS_PROXY=URL and by trusting
// CA, and reads key files made by Account.GoogleCredentials.
type Proxy struct {
	URL string
	CA  []byte // PEM of the certificate authority that signs the hosts

	outer  *http.Server // takes CONNECT
	inner  *http.Server // serves what comes through the tunnels
	tunnel *tunnels
	served chan error
}

// StartProxy starts a proxy. It ends with the server.
func (s *Server) StartProxy() (*Proxy, error) {
	p, err := s.startProxy()
	if err != nil {
		return nil, fmt.Errorf("start the drive emulator's proxy: %w", err)
	}
	return p, nil
}

func (s *Server) startProxy() (*Proxy, error) {
	ca, err := certs.NewAuthority("sitesync Drive emulator")
	if err != nil {
		return nil, err
	}
	certificate, err := ca.Issue(&x509.Certificate{Subject: pkix.Name{CommonName: googleHosts[0]},
		DNSNames: googleHosts, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{
		URL: "http://" + listener.Addr().String(), CA: ca.PEM(),
		tunnel: &tunnels{conns: make(chan net.Conn), done: make(chan struct{}), addr: listener.Addr()},
		served: make(chan error, 2),
	}
	silent := log.New(io.Discard, "", 0)
	p.outer = &http.Server{Handler: http.HandlerFunc(p.connect), ErrorLog: silent}
	// HTTP/1.1 only: faults cut connections, and one of HTTP/2 carries others' calls.
	p.inner = &http.Server{Handler: s, ErrorLog: silent, ConnContext: withBandwidth,
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){}}
	config := &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12,
		NextProtos: []string{"http/1.1"}}
	s.gate.Lock()
	defer s.gate.Unlock()
	if s.closed {
		return nil, errors.Join(errors.New("the server is closed"), listener.Close())
	}
	s.proxies = append(s.proxies, p)
	go func() { p.served <- p.outer.Serve(listener) }()
	go func() { p.served <- p.inner.Serve(tls.NewListener(p.tunnel, config)) }()
	return p, nil
}

// Close ends the proxy and its connections. It may be called more than once.
func (p *Proxy) Close() error {
	first := p.tunnel.close()
	if !first {
		return nil
	}
	errs := []error{p.outer.Close(), p.inner.Close()}
	for range 2 {
		if err := <-p.served; !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// connect opens a tunnel to one of Google's hosts.
func (p *Proxy) connect(w http.ResponseWriter, r *http.Request) {
	host, port, err := net.SplitHostPort(r.Host)
	if r.Method != http.MethodConnect || err != nil || port != "443" || !slices.Contains(googleHosts, host) {
		http.Error(w, "this proxy only connects to "+fmt.Sprint(googleHosts), http.StatusForbidden)
		return
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if _, err := io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		_ = conn.Close()
		return
	}
	// A client may have sent the beginning of its TLS hello already.
	early, _ := buffered.Reader.Peek(buffered.Reader.Buffered())
	p.tunnel.open(&tunnel{Conn: conn, early: bytes.NewReader(bytes.Clone(early))})
}

// tunnel is a connection through the proxy.
type tunnel struct {
	net.Conn
	early *bytes.Reader
}

func (t *tunnel) Read(b []byte) (int, error) {
	if t.early.Len() > 0 {
		return t.early.Read(b)
	}
	return t.Conn.Read(b)
}

// SetLinger makes a close send a reset.
func (t *tunnel) SetLinger(seconds int) error {
	if conn, ok := t.Conn.(*net.TCPConn); ok {
		return conn.SetLinger(seconds)
	}
	return nil
}

// tunnels is the listener to which tunnels arrive.
type tunnels struct {
	conns chan net.Conn
	addr  net.Addr
	once  sync.Once
	done  chan struct{}
}

func (t *tunnels) open(conn net.Conn) {
	select {
	case t.conns <- conn:
	case <-t.done:
		_ = conn.Close()
	}
}

// Accept waits for a tunnel.
func (t *tunnels) Accept() (net.Conn, error) {
	select {
	case conn := <-t.conns:
		return conn, nil
	case <-t.done:
		return nil, net.ErrClosed
	}
}

func (t *tunnels) close() (first bool) {
	t.once.Do(func() { close(t.done); first = true })
	return first
}

// Close ends the listener.
func (t *tunnels) Close() error { t.close(); return nil }

// Addr is the proxy's address.
func (t *tunnels) Addr() net.Addr { return t.addr }
