package transport

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/count-db/count/cluster/membership"
	"github.com/count-db/count/cluster/ring"
)

// Path is where connections between nodes are upgraded.
const Path = "/internal/connect"

// The names of what a connection carries, as they stand in the Upgrade header.
const (
	KindCalls         = "count-calls"
	KindGossipStream  = "count-gossip-stream"
	KindGossipPackets = "count-gossip-packets"
)

// helloHeader carries the Hello, as base64 of JSON, in both directions.
const helloHeader = "Count-Hello"

// Hello is how the two ends of a connection introduce themselves.
type Hello struct {
	Protocol  int         `json:"protocol"`
	Cluster   string      `json:"cluster"`              // CLUSTER_NAME
	ClusterID string      `json:"cluster_id,omitempty"` // empty before the founding
	Node      ring.NodeID `json:"node_id"`
	Disk      string      `json:"disk_id"`
	Starts    uint64      `json:"starts"`          // start counter of the disk
	Start     uint64      `json:"start,omitempty"` // random number of this start
	Address   string      `json:"address"`
	Zone      string      `json:"zone,omitempty"`
	RF        int         `json:"replication_factor"`
	Ring      uint64      `json:"ring"` // number of the ring in force; 0 = none
	Refilling bool        `json:"refilling,omitempty"`
	Version   string      `json:"version"`
	DataSize  int64       `json:"data_size"` // bytes
	// RequestIDs says that the node takes correlation ids with what it is asked.
	RequestIDs bool `json:"request_ids,omitempty"`
	// Founders is CLUSTER_NODES, and Resolved who answered there, once all did.
	Founders []string      `json:"founders,omitempty"`
	Resolved []ring.NodeID `json:"resolved,omitempty"`
	// Secret is asked of every connection by the other side's HTTP port; it does
	// not travel with the rest.
	Secret string `json:"-"`
	// Seen is what the node remembers of the others' disks (C5).
	Seen map[ring.NodeID]membership.Sighting `json:"seen,omitempty"`
}

// Greeter knows who this node is and whom it talks to. Safe for concurrent use.
type Greeter interface {
	// Hello returns this node's introduction.
	Hello() Hello
	// Meet checks the introduction of another node; an error refuses the
	// connection, and its text is shown on both sides.
	Meet(Hello) error
}

// DialFunc opens a connection to host:port.
type DialFunc func(ctx context.Context, address string) (net.Conn, error)

// NetDial dials over TCP, without TLS.
func NetDial(ctx context.Context, address string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", address)
}

func encodeHello(h Hello) (string, error) {
	text, err := json.Marshal(h)
	if err != nil {
		return "", fmt.Errorf("encode hello: %w", err)
	}
	return base64.StdEncoding.EncodeToString(text), nil
}

func decodeHello(value string) (Hello, error) {
	var h Hello
	text, err := base64.StdEncoding.DecodeString(value)
	if err == nil {
		err = json.Unmarshal(text, &h)
	}
	if err != nil {
		return h, fmt.Errorf("decode hello: %w", err)
	}
	return h, nil
}

// Connect dials the address and upgrades the connection; ctx bounds all of it. With
// an error there may still be the Hello of who answered: only who it is, and not that
// it is talked to.
func Connect(ctx context.Context, dial DialFunc, address, kind string, g Greeter) (net.Conn, *bufio.Reader, Hello, error) {
	nc, err := dial(ctx, address)
	if err != nil {
		return nil, nil, Hello{}, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Unix(1, 0)) })
	in, hello, err := upgrade(nc, address, kind, g)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = nc.SetDeadline(time.Time{})
	}
	if err != nil {
		_ = closeNow(nc) // what went wrong before is what matters
		return nil, nil, hello, err
	}
	return nc, in, hello, nil
}

func upgrade(nc net.Conn, address, kind string, g Greeter) (*bufio.Reader, Hello, error) {
	hello := g.Hello()
	mine, err := encodeHello(hello)
	if err != nil {
		return nil, Hello{}, err
	}
	req, err := http.NewRequest(http.MethodGet, "http://"+address+Path, nil)
	if err != nil {
		return nil, Hello{}, fmt.Errorf("address %q: %w", address, err)
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", kind)
	req.Header.Set(helloHeader, mine)
	if hello.Secret != "" {
		req.Header.Set("Authorization", "Bearer "+hello.Secret)
	}
	written := req.Write(nc)
	in := bufio.NewReaderSize(nc, 64<<10)
	resp, err := http.ReadResponse(in, req)
	if err != nil {
		// With TLS 1.3 it is only now that a certificate of this node is refused, and
		// perhaps while the request is written: what was said before the end counts.
		if err = explainTLS(err); written != nil && !errors.As(err, new(*HandshakeError)) {
			err = written
		}
		return nil, Hello{}, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		theirs, _ := decodeHello(resp.Header.Get(helloHeader)) // there where the introduction was what was refused
		return nil, theirs, refusal(resp)
	}
	theirs, err := decodeHello(resp.Header.Get(helloHeader))
	if err != nil {
		return nil, Hello{}, err
	}
	if err := g.Meet(theirs); err != nil {
		return nil, theirs, &RemoteError{Code: CodeRefused, Text: err.Error()}
	}
	return in, theirs, nil
}

// refusal is why a connection was not upgraded. What was said before the connection
// broke counts: a TLS server ends one that speaks plain HTTP with the request
// unread, and where the request was longer than what it had taken in by then, the
// kernel makes a reset of that, behind the answer.
func refusal(resp *http.Response) error {
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	var answer struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(text, &answer) != nil || answer.Error == "" {
		answer.Error = fmt.Sprintf("HTTP status %d", resp.StatusCode)
	}
	switch {
	case resp.StatusCode == http.StatusBadRequest && bytes.Contains(text, []byte("HTTPS server")): // as net/http puts it
		return &HandshakeError{Text: "it speaks TLS, and this node does not: set CLUSTER_TLS=require, or prefer while the cluster changes over"}
	case resp.StatusCode == http.StatusUnauthorized:
		return &HandshakeError{Text: "it asks for a password, which the right CLUSTER_SECRET does without: the secret must be the same on all nodes"}
	case err != nil:
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	case resp.StatusCode == http.StatusForbidden:
		return &HandshakeError{Text: answer.Error}
	}
	return Errorf(CodeRefused, "%s", answer.Error)
}

// Ask makes one call to whoever answers at the address, over a connection of its
// own. The Hello is as Connect returns it.
func Ask(ctx context.Context, dial DialFunc, address string, g Greeter, op Op, payload []byte) (Hello, []byte, error) {
	nc, in, hello, err := Connect(ctx, dial, address, KindCalls, g)
	if err != nil {
		return hello, nil, err
	}
	c := newClient(nc, in, nil, RequestIDs{})
	var running sync.WaitGroup
	running.Go(c.run)
	answer, err := c.call(ctx, op, payload)
	c.end(ErrClosed)
	running.Wait()
	return hello, answer, err
}
