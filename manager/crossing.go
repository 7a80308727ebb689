package manager

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/go-multiproc/multiproc/internal/handover"
	"github.com/go-multiproc/multiproc/internal/store"
)

// How handles cross. To another process, in the arguments of a child or through a pipe: where the server is, which object,
// and an offer, which keeps the object until the receiver has claimed it. Into a container of the same server: which object; the
// request says so a second time, to the server, which keeps the object as long as the value stands there.

// A crossing is a handle on its way to another process.
type crossing struct {
	Network, Address string
	Max              int
	NoRings          bool
	Pin              []byte // the fingerprint of the server's certificate; nil without TLS
	HasKey           bool   // a descriptor follows, out of which the key can be read
	Kind             store.Kind
	Layout           string
	Object           store.ID
	Token            store.Token
}

func (h *handle) handOver(e *handover.Encoder, kind store.Kind, layout string) error {
	r, err := h.remote(typeName(kind))
	if err != nil {
		return err
	}
	if in, ok := inValues.Load(e); ok {
		in := in.(*inValue)
		in.handles = append(in.handles, h)
		return r.mention(e, in, kind)
	}
	c := r.client
	ctx, cancel := answerSoon()
	defer cancel()
	cl := newCall(opOffer).uint(uint64(r.id))
	rep, err := c.do(ctx, cl)
	if err != nil {
		return noAnswer(c, err)
	}
	x := crossing{Kind: kind, Layout: layout, Object: r.id}
	copy(x.Token[:], rep.bytes())
	err = rep.close()
	cl.free()
	if err != nil {
		return err
	}
	// The offer is to end when it can no longer be claimed: the message is lost, or its receiver died before it came to
	// claiming. The kernel knows: a pipe's end travels along, and when its last copy is closed, ours reads the end.
	lifeline, theirs, err := os.Pipe()
	if err != nil {
		c.notify(newCall(opWithdraw).bytes(x.Token[:]))
		return err
	}
	e.OnDrop(func() {
		lifeline.Close()
		c.notify(newCall(opWithdraw).bytes(x.Token[:]))
	})
	e.OnSent(func() { c.watch(lifeline, x.Token) })
	e.FD(int(theirs.Fd()), func() { theirs.Close() })
	if x.Pin, err = c.pin(); err != nil {
		return err
	}
	return c.target.put(e, x)
}

// watch withdraws an offer when nobody holds the other end of its lifeline any more. If it was claimed by then, nothing
// happens.
func (c *client) watch(lifeline *os.File, t store.Token) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		lifeline.Close()
		return
	}
	c.lifelines[lifeline] = struct{}{}
	c.work.Go(func() {
		lifeline.Read(make([]byte, 1))
		lifeline.Close()
		c.mu.Lock()
		delete(c.lifelines, lifeline)
		c.mu.Unlock()
		c.notify(newCall(opWithdraw).bytes(t[:]))
	})
}

// put describes where a server is, and whatever else x says.
func (t target) put(e *handover.Encoder, x crossing) error {
	x.Network, x.Address, x.Max, x.NoRings, x.HasKey = t.network, t.address, t.max, t.noRings, len(t.key) > 0
	if err := e.Put(x); err != nil {
		return err
	}
	if !x.HasKey {
		return nil
	}
	// The key goes through a pipe of its own and not among the bytes: so it can reach processes of this machine
	// only, whatever the message travels on.
	if len(t.key) > maxKey {
		return fmt.Errorf("manager: a key of %d bytes cannot be handed over, only up to %d", len(t.key), maxKey)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer w.Close()
	if _, err := w.Write(t.key); err != nil {
		r.Close()
		return err
	}
	e.FD(int(r.Fd()), func() { r.Close() })
	return nil
}

// maxKey is what a pipe takes without a reader, on every system.
const maxKey = 4096

// take reads what put wrote.
func take(d *handover.Decoder) (x crossing, t target, err error) {
	if err := d.Get(&x); err != nil {
		return x, t, err
	}
	if x.Network != "unix" && x.Network != "tcp" && x.Network != "tcp4" && x.Network != "tcp6" {
		return x, t, fmt.Errorf("a server on network %q", x.Network)
	}
	t = target{network: x.Network, address: x.Address, max: x.Max, noRings: x.NoRings}
	if len(x.Pin) > 0 {
		if len(x.Pin) != len(fingerprint{}) || x.Network == "unix" {
			return x, t, errors.New("the description of a certificate is none")
		}
		t.pinned, t.tls = x.Pin, pinned(fingerprint(x.Pin))
	}
	if x.HasKey {
		fd, err := d.FD()
		if err != nil {
			return x, t, err
		}
		f := os.NewFile(uintptr(fd), "key")
		defer f.Close()
		if t.key, err = io.ReadAll(io.LimitReader(f, maxKey)); err != nil {
			return x, t, fmt.Errorf("reading the key: %w", err)
		}
	}
	if x.Network != "unix" && len(t.key) == 0 {
		return x, t, errNoKey
	}
	return x, t, nil
}

// takeOver makes the zero handle h one to the object that the message describes. It does not block: the connection is made, and
// the object claimed, while the program goes on; what goes wrong there is the error of the first call.
func takeOver[T any](outer *T, h *handle, d *handover.Decoder, kind store.Kind, layout string) error {
	if in, ok := inValues.Load(d); ok {
		in := in.(*inValue)
		r, err := in.mentioned(d, kind)
		if err == nil {
			attach(outer, h, r)
			in.handles = append(in.handles, h)
		}
		return err
	}
	fd, err := d.FD()
	if err != nil {
		return err
	}
	lifeline := os.NewFile(uintptr(fd), "lifeline") // to be open until the claim has reached the server
	x, t, err := take(d)
	if err != nil {
		lifeline.Close()
		return err
	}
	if x.Kind != kind || x.Layout != layout {
		lifeline.Close()
		return fmt.Errorf("%w: a %v of %s was sent, and %s of %s is to receive it", ErrType, x.Kind, x.Layout, typeName(kind), layout)
	}
	c, _ := share(t, nil)
	defer c.dropUser()
	r := c.adopt(x.Object, 1)
	cl := newCall(opClaim).bytes(x.Token[:])
	if err := c.start(context.Background(), cl); err != nil {
		// The connection broke down already. The calls on the handle will say so.
		lifeline.Close()
		attach(outer, h, r)
		return nil
	}
	r.hold()
	c.work.Go(func() {
		defer r.release()
		defer lifeline.Close()
		if err := c.wait(context.Background(), cl); err != nil {
			return
		}
		_, err := cl.result()
		cl.free()
		if err != nil {
			c.mu.Lock()
			r.received--
			r.lost = err
			c.mu.Unlock()
		}
	})
	attach(outer, h, r)
	return nil
}

// mention writes a handle inside a value.
func (r *remote) mention(e *handover.Encoder, in *inValue, kind store.Kind) error {
	if r.client != in.client {
		return fmt.Errorf("a %s of another manager cannot %s: the object is at %v, the container at %v", typeName(kind), storedVerb, r.client.target, in.client.target)
	}
	r.hold()
	in.sending.holds = append(in.sending.holds, r)
	in.sending.refs = append(in.sending.refs, r.id)
	if err := e.Put(uint64(kind)); err != nil {
		return err
	}
	return e.Put(uint64(r.id))
}

// mentioned reads a handle inside a value, and returns a hold on the object.
func (in *inValue) mentioned(d *handover.Decoder, kind store.Kind) (*remote, error) {
	var k store.Kind
	var id store.ID
	if err := errors.Join(d.Get(&k), d.Get(&id)); err != nil {
		return nil, err
	}
	if k != kind {
		return nil, fmt.Errorf("%w: a %v is stored, not a %v", ErrType, k, kind)
	}
	r := in.arrived[id]
	if r == nil {
		return nil, fmt.Errorf("object %d is mentioned in it, but the value does not keep it", id)
	}
	r.hold()
	return r, nil
}

// HandOver describes m to another process. It is for the packages of this module.
func (m *Manager) HandOver(e *handover.Encoder) error {
	if _, ok := inValues.Load(e); ok {
		return errors.New("a Manager cannot " + storedVerb)
	}
	c, err := m.use()
	if err != nil {
		return err
	}
	pin, err := c.pin()
	if err != nil {
		return err
	}
	return c.target.put(e, crossing{Pin: pin})
}

// TakeOver makes the zero Manager m a connection to what another process described. It is for the packages of this
// module.
func (m *Manager) TakeOver(d *handover.Decoder) error {
	if _, ok := inValues.Load(d); ok {
		return errors.New("a Manager cannot " + storedVerb)
	}
	_, t, err := take(d)
	if err != nil {
		return err
	}
	c, _ := share(t, nil)
	m.attach(c, nil)
	return nil
}
