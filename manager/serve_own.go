package manager

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-multiproc/multiproc/internal/registered"
	"github.com/go-multiproc/multiproc/internal/store"
)

// checkOwn makes sure that this program has the type that an object is to be of.
func checkOwn(k uint64, layout string) error {
	if k != uint64(store.KindOwn) {
		return nil
	}
	ownTypes.Lock()
	defer ownTypes.Unlock()
	if ownTypes.byName[layout] == nil {
		return &failure{codeUnregistered, fmt.Sprintf("type %q; is it another program, or does the registration depend on something?", layout)}
	}
	return nil
}

// findMethod finds a method by the words that name it.
func findMethod(typ, name string) (*method, error) {
	found := methodNames()[name]
	if found == nil || found.of.name != typ {
		return nil, &failure{codeUnregistered, fmt.Sprintf("%s of type %q; is it another program, or does the registration depend on something?", name, typ)}
	}
	return found, nil
}

// ownCall calls a method. It runs in a goroutine, when it is its turn; until then it is a record.
func (r *request) ownCall(context.Context) error {
	id, name := store.ID(r.uint()), r.text()
	in := r.storedValue()
	if !r.ok() {
		return nil
	}
	own, err := r.store.Own(id)
	if err != nil {
		return err
	}
	m, err := findMethod(own.Type(), name)
	if err != nil {
		return err
	}
	// The caller may let go of what the argument mentions while it waits.
	tokens := make([]store.Token, 0, len(in.Refs))
	for _, id := range in.Refs {
		token, err := r.store.Offer(id)
		if err != nil {
			r.withdrawAll(tokens)
			return fmt.Errorf("the argument mentions an object: %w", err)
		}
		tokens = append(tokens, token)
	}
	s := r.session
	ctx, cancel := context.WithCancel(s.ctx)
	w := &store.Wait{ID: r.id, Stop: cancel, Size: len(in.Data)}
	w.Done = func(w *store.Wait) {
		if w.Err != nil {
			cancel()
			s.withdrawAll(tokens)
			s.refuse(w.ID, w.Err)
			s.flushSoon()
			return
		}
		// The server waits for its methods: whoever is here is one, or does another session's request.
		s.server.work.Go(func() {
			defer cancel()
			s.call(ctx, own, m, w, in, tokens)
		})
	}
	switch err := own.Enter(r.store, w, m.alone); {
	case errors.Is(err, store.ErrParked):
	case err != nil:
		cancel()
		s.withdrawAll(tokens)
		return err
	default:
		w.Done(w)
	}
	return nil
}

func (s *session) withdrawAll(tokens []store.Token) {
	for _, t := range tokens {
		s.store.Withdraw(t)
	}
}

// call runs a method and replies.
func (s *session) call(ctx context.Context, own *store.Own, m *method, w *store.Wait, in store.Value, tokens []store.Token) {
	var c *client
	var err error
	d := m.of.durable
	if len(tokens) > 0 || m.handles || d != nil && d.handles {
		// What is mentioned becomes handles of this process's, which is a client of its own server then.
		if c, err = s.server.self(ctx); err == nil {
			err = c.claimAll(ctx, tokens, in.Refs)
		}
	}
	if err != nil {
		own.Leave(w)
		s.withdrawAll(tokens)
		s.refuse(w.ID, unreachable(ctx, err))
		s.flushSoon()
		return
	}
	var v *visit
	if d != nil {
		v = &visit{durable: d, server: s.server, own: own, alone: m.alone, create: m.of.make, client: c}
	}
	m.guarded(ctx, own, v, c, []byte(in.Data), in.Refs, func(out encoded, err error) {
		var refs []store.ID
		if err == nil && len(out.refs) > 0 {
			refs, err = s.receive(ctx, c, out.refs)
		}
		releaseAll(out.holds)
		if n := len(out.data); err == nil && n > s.server.options.maxMessage() {
			err = fmt.Errorf("its result has %d bytes, of which one reply can hold %d", n, s.server.options.maxMessage())
		}
		own.Leave(w)
		if f, ok := err.(*failure); ok { // the method was not called
			s.refuse(w.ID, f)
		} else {
			s.answerCall(w.ID, out.data, refs, err)
		}
		s.flushSoon()
	})
}

func (s *session) answerCall(id uint64, data []byte, refs []store.ID, err error) {
	if err == nil {
		p := s.newReply(id)
		p.bool(true)
		p.value(store.Value{Data: string(data), Refs: refs})
		p.send()
		return
	}
	keys, errno := registered.Errors.Keys(err)
	p := s.newLongReply(id, 0)
	p.bool(false)
	p.text(err.Error())
	stack := ""
	var panicked *panicked
	if errors.As(err, &panicked) {
		stack = string(panicked.stack)
	}
	p.text(stack)
	p.bytes(errno)
	for _, k := range keys {
		p.text(k)
	}
	p.send()
}

// self is a connection of the server's process to itself, for as long as the server runs. It is made when the first method needs it.
func (sv *server) self(ctx context.Context) (*client, error) {
	sv.mu.Lock()
	c := sv.own
	if c == nil {
		a := sv.listener.Addr()
		t, err := newTarget(a.Network(), a.String(), sv.options)
		if err != nil {
			sv.mu.Unlock()
			return nil, err
		}
		c, _ = share(t, nil)
		sv.own = c
	}
	sv.mu.Unlock()
	err := c.waitReady(ctx)
	if err != nil && ctx.Err() == nil { // it broke down; the next call has another
		sv.mu.Lock()
		if sv.own == c {
			sv.own = nil
			sv.mu.Unlock()
			c.dropUser()
			return nil, err
		}
		sv.mu.Unlock()
	}
	return c, err
}

// dropSelf ends the server's connection to itself.
func (sv *server) dropSelf() {
	sv.mu.Lock()
	c := sv.own
	sv.own = nil
	sv.mu.Unlock()
	if c != nil && c.dropUser() {
		c.work.Wait()
	}
}

// claimAll takes over what was offered: references to objects. They are counted by whoever reads the value that mentions them, or disowns them. On error none is held.
func (c *client) claimAll(ctx context.Context, tokens []store.Token, ids []store.ID) error {
	for i, t := range tokens {
		cl := newCall(opClaim).bytes(t[:])
		if _, err := c.do(ctx, cl); err != nil {
			c.disown(ids[:i])
			return err
		}
		cl.free()
	}
	return nil
}

// disown lets go of references that were claimed, and not counted.
func (c *client) disown(ids []store.ID) {
	for _, id := range ids {
		c.adopt(id, 1).release()
	}
}

// offer puts a reference on its way.
func (c *client) offer(ctx context.Context, id store.ID) (t store.Token, err error) {
	cl := newCall(opOffer).uint(uint64(id))
	rep, err := c.do(ctx, cl)
	if err != nil {
		return t, err
	}
	copy(t[:], rep.bytes())
	err = rep.close()
	cl.free()
	return t, err
}

// receive makes references of the server's own client the session's.
func (s *session) receive(ctx context.Context, c *client, ids []store.ID) ([]store.ID, error) {
	for i, id := range ids {
		t, err := c.offer(ctx, id)
		if err == nil {
			_, err = s.store.Claim(t)
		}
		if err != nil {
			for _, id := range ids[:i] {
				s.store.Release(id, 1)
			}
			return nil, err
		}
	}
	return ids, nil
}
