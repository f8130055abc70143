package transport

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/count-db/count/cluster/ring"
)

// Bounds of the gossip path.
const (
	maxPacket      = 64 << 10 // bytes
	packetsIn      = 1024     // that wait to be read; more are dropped, as a network would
	packetsOut     = 256      // that wait for one peer; more are dropped
	maxPeersOut    = 1024     // that packets wait for
	streamsIn      = 64       // that wait to be taken
	packetDeadline = 2 * time.Second
	packetIdle     = time.Minute // then a packet connection is closed
	gossipPort     = 1           // of the addresses that memberlist sees
)

// Gossip carries memberlist's packets and streams over the one HTTP port: it is
// a memberlist.Transport. memberlist knows nodes by addresses that follow from
// their ids (GossipAddress), so that a node that comes back at another host:port
// is the same to it; where a node really is, Resolve says.
type Gossip struct {
	self    ring.NodeID
	dial    DialFunc
	greeter Greeter
	resolve func(ring.NodeID) (address string, ok bool)

	ctx     context.Context
	stop    context.CancelFunc
	packets chan *memberlist.Packet
	streams chan net.Conn
	wg      sync.WaitGroup

	mu    sync.Mutex
	out   map[ring.NodeID]chan []byte // guarded by mu; per peer, capacity packetsOut
	conns map[net.Conn]struct{}       // guarded by mu; nil when closed
}

// NewGossip returns the transport of a node. resolve returns the host:port of
// another.
func NewGossip(self ring.NodeID, dial DialFunc, g Greeter, resolve func(ring.NodeID) (string, bool)) *Gossip {
	ctx, stop := context.WithCancel(context.Background())
	return &Gossip{
		self: self, dial: dial, greeter: g, resolve: resolve, ctx: ctx, stop: stop,
		packets: make(chan *memberlist.Packet, packetsIn), streams: make(chan net.Conn, streamsIn),
		out: map[ring.NodeID]chan []byte{}, conns: map[net.Conn]struct{}{},
	}
}

// gossipIP is the address of a node as memberlist sees it: in a private range
// that nobody dials.
func gossipIP(id ring.NodeID) net.IP {
	ip := make(net.IP, net.IPv6len)
	ip[0] = 0xfd
	binary.BigEndian.PutUint64(ip[8:], uint64(id))
	return ip
}

// GossipAddress is how memberlist is told to join a node.
func GossipAddress(id ring.NodeID) string {
	return id.String() + "/" + net.JoinHostPort(gossipIP(id).String(), strconv.Itoa(gossipPort))
}

// nodeOf reads the id back out of an address.
func nodeOf(address string) (ring.NodeID, error) {
	host, _, err := net.SplitHostPort(address[strings.IndexByte(address, '/')+1:])
	if err != nil {
		return 0, err
	}
	ip := net.ParseIP(host)
	if len(ip) != net.IPv6len || ip[0] != 0xfd {
		return 0, fmt.Errorf("%s is not the address of a node", address)
	}
	return ring.NodeID(binary.BigEndian.Uint64(ip[8:])), nil
}

type gossipAddr ring.NodeID

func (a gossipAddr) Network() string { return "count" }
func (a gossipAddr) String() string {
	return net.JoinHostPort(gossipIP(ring.NodeID(a)).String(), strconv.Itoa(gossipPort))
}

// FinalAdvertiseAddr returns this node's address.
func (g *Gossip) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return gossipIP(g.self), gossipPort, nil
}

// WriteTo sends a packet; it never waits.
func (g *Gossip) WriteTo(b []byte, address string) (time.Time, error) {
	id, err := nodeOf(address)
	if err != nil {
		return time.Time{}, err
	}
	if len(b) > maxPacket {
		return time.Time{}, fmt.Errorf("gossip packet of %d bytes", len(b))
	}
	queue := g.queue(id)
	if queue == nil {
		return time.Time{}, fmt.Errorf("%w: the address of node %d is not known", ErrUnreachable, id)
	}
	select {
	case queue <- append([]byte(nil), b...):
	default: // dropped: gossip is best effort
	}
	return time.Now(), nil
}

// WriteToAddress sends a packet; it never waits.
func (g *Gossip) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	return g.WriteTo(b, a.Addr)
}

// queue returns where packets to a node wait, nil when nothing can be sent to it:
// packets name whom they please, and only for nodes that are known is a queue begun.
func (g *Gossip) queue(id ring.NodeID) chan []byte {
	g.mu.Lock()
	q := g.out[id]
	g.mu.Unlock()
	if q != nil {
		return q
	}
	if _, known := g.resolve(id); !known {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if q := g.out[id]; q != nil || g.conns == nil || len(g.out) >= maxPeersOut {
		return q
	}
	q = make(chan []byte, packetsOut)
	g.out[id] = q
	g.wg.Go(func() { g.sendPackets(id, q) })
	return q
}

// sendPackets sends one peer's packets over a connection that is made when there
// is something to send and closed after a while of silence.
func (g *Gossip) sendPackets(id ring.NodeID, queue <-chan []byte) {
	var nc net.Conn
	drop := func() {
		if nc != nil {
			g.forget(nc)
			nc = nil
		}
	}
	defer drop()
	idle := time.NewTimer(packetIdle)
	defer idle.Stop()
	for {
		select {
		case <-g.ctx.Done():
			return
		case <-idle.C:
			drop()
			idle.Reset(packetIdle)
			continue
		case b := <-queue:
			idle.Reset(packetIdle)
			if nc == nil {
				nc = g.open(id)
			}
			if nc == nil {
				continue // lost, as a network would lose it
			}
			frame := append(binary.LittleEndian.AppendUint32(make([]byte, 0, 4+len(b)), uint32(len(b))), b...)
			err := nc.SetWriteDeadline(time.Now().Add(packetDeadline))
			if err == nil {
				_, err = nc.Write(frame)
			}
			if err != nil {
				drop()
			}
		}
	}
}

func (g *Gossip) open(id ring.NodeID) net.Conn {
	nc, _, err := g.connect(id, KindGossipPackets, packetDeadline)
	if err != nil {
		return nil // the other side is probed again and again
	}
	return nc
}

func (g *Gossip) connect(id ring.NodeID, kind string, timeout time.Duration) (net.Conn, *bufio.Reader, error) {
	address, ok := g.resolve(id)
	if !ok {
		return nil, nil, fmt.Errorf("%w: the address of node %d is not known", ErrUnreachable, id)
	}
	ctx, cancel := context.WithTimeout(g.ctx, timeout)
	defer cancel()
	nc, in, hello, err := Connect(ctx, g.dial, address, kind, g.greeter)
	if err != nil {
		return nil, nil, err
	}
	if hello.Node != id {
		_ = closeNow(nc) // the wrong node is what matters
		return nil, nil, fmt.Errorf("node %d answers at the address of node %d", hello.Node, id)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.conns == nil {
		_ = closeNow(nc) // closed meanwhile
		return nil, nil, ErrClosed
	}
	g.conns[nc] = struct{}{}
	return nc, in, nil
}

func (g *Gossip) forget(nc net.Conn) {
	g.mu.Lock()
	delete(g.conns, nc)
	g.mu.Unlock()
	_ = closeNow(nc) // nothing more is expected of it
}

// Accept takes a connection of one of the gossip kinds.
func (g *Gossip) Accept(kind string, nc net.Conn, in *bufio.Reader, from Hello) {
	g.mu.Lock()
	if g.conns == nil {
		g.mu.Unlock()
		_ = closeNow(nc) // closed meanwhile
		return
	}
	g.conns[nc] = struct{}{}
	g.mu.Unlock()
	if kind == KindGossipStream {
		select {
		case g.streams <- &stream{Conn: nc, in: in, g: g, from: gossipAddr(from.Node)}:
		default:
			g.forget(nc)
		}
		return
	}
	defer g.forget(nc)
	for {
		b, err := readPacket(in)
		if err != nil {
			return // the other side connects again
		}
		select {
		case g.packets <- &memberlist.Packet{Buf: b, From: gossipAddr(from.Node), Timestamp: time.Now()}:
		default: // dropped: gossip is best effort
		}
	}
}

func readPacket(in *bufio.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint32(head[:])
	if n == 0 || n > maxPacket {
		return nil, fmt.Errorf("gossip packet of %d bytes", n)
	}
	b := make([]byte, n)
	_, err := io.ReadFull(in, b)
	return b, err
}

// PacketCh returns the packets that came.
func (g *Gossip) PacketCh() <-chan *memberlist.Packet { return g.packets }

// StreamCh returns the streams that came.
func (g *Gossip) StreamCh() <-chan net.Conn { return g.streams }

// DialTimeout opens a stream.
func (g *Gossip) DialTimeout(address string, timeout time.Duration) (net.Conn, error) {
	id, err := nodeOf(address)
	if err != nil {
		return nil, err
	}
	nc, in, err := g.connect(id, KindGossipStream, timeout)
	if err != nil {
		return nil, err
	}
	return &stream{Conn: nc, in: in, g: g, from: gossipAddr(id)}, nil
}

// DialAddressTimeout opens a stream.
func (g *Gossip) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	return g.DialTimeout(a.Addr, timeout)
}

// Shutdown ends all connections.
func (g *Gossip) Shutdown() error {
	g.stop()
	g.mu.Lock()
	conns := g.conns
	g.conns = nil
	g.mu.Unlock()
	var errs []error
	for nc := range conns {
		if err := closeNow(nc); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	g.wg.Wait()
	return errors.Join(errs...)
}

// stream is a gossip stream: what was read ahead during the upgrade comes first.
type stream struct {
	net.Conn
	in   *bufio.Reader
	g    *Gossip
	from gossipAddr
}

func (s *stream) Read(p []byte) (int, error) { return s.in.Read(p) }
func (s *stream) RemoteAddr() net.Addr       { return s.from }
func (s *stream) Close() error {
	s.g.forget(s.Conn)
	return nil
}
