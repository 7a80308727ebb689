package store

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-multiproc/multiproc/internal/journal"
)

// What of a store outlives its process. The journal gets a record of each change, written under the lock that the change was made under, so that
// the records of an object stand in the order of its changes. A record is an object's id, and effects; where a change
// of two objects must not come apart (see commitWith), those on the other stand before them.
//
// A snapshot has, for each object, the effects that make it what it was at one moment, which is another moment for each, and the position that
// the journal had then; what the journal says about the object up to there is passed over. So nobody has to
// stop while a snapshot is made, except one object's writers while that object's tables of pointers are copied.
//
// Which objects live is not noted. After a restart those do that have a name, and those that they mention.

// Open returns the store that the journal in a directory describes, which is new if there is none. Changes are noted there from now on, and
// Flush makes them outlive the process.
func Open(o Options, dir string, jo journal.Options) (*Store, error) {
	st := New(o)
	began := time.Now()
	r := &replayer{graph: &st.graph, after: map[ID]positions{}}
	st.ledger.loading = true
	jo.Compact = st.dump
	j, err := journal.Open(dir, jo, r.load)
	if err != nil {
		return nil, err
	}
	st.ledger.journal, st.ledger.loading = j, false
	if err := st.graph.recovered(); err != nil {
		j.Close()
		return nil, err
	}
	st.recovery = time.Since(began)
	return st, nil
}

// Flush returns when everything that was changed before it was called will outlive the process. It is called before anybody outside hears of it.
func (st *Store) Flush() error {
	if st.ledger.journal == nil {
		return nil
	}
	if err := st.ledger.journal.Flush(); err != nil {
		return fmt.Errorf("%w: %w", ErrJournal, err)
	}
	return nil
}

// FlushNow is Flush where that needs one write at most. Otherwise, or if it fails, it reports false: then Flush is to be called.
func (st *Store) FlushNow() bool {
	j := st.ledger.journal
	return j == nil || j.Flushed() || !j.SyncsAlways() && j.Flush() == nil
}

// Compact makes a snapshot now, and shortens the journal by it.
func (st *Store) Compact() error {
	if st.ledger.journal == nil {
		return nil
	}
	return st.ledger.journal.Compact()
}

// positions are how far the journal is contained in what a snapshot says of an object.
type positions struct{ object, body uint64 }

// A replayer makes a store what a journal says. Nobody else knows of the store yet.
type replayer struct {
	*journal.Reader
	graph    *graph
	after    map[ID]positions
	position uint64 // of the record; 0 in a snapshot
	with     bool   // this is the part of a record that is about another object
}

// load does what one record says.
func (r *replayer) load(rec *journal.Reader, position uint64) error {
	r.Reader, r.position = rec, position
	return r.record()
}

// record does what r.Reader has.
func (r *replayer) record() error {
	id := ID(r.Uint())
	if r.Err() != nil {
		return r.Err()
	}
	return r.effects(id)
}

// effects does what is left in r.Reader to the object of that id.
func (r *replayer) effects(id ID) error {
	o := r.graph.objects[id]
	if o == nil {
		// Mentioned, or created: in a snapshot the one may come before the other.
		o = r.graph.expect(id)
	}
	after := r.after[id]
	for r.More() {
		e := effect(r.Uint())
		if err := r.effect(o, e, &after); err != nil {
			return fmt.Errorf("object %d, effect %d: %w", id, e, err)
		}
	}
	return r.Err()
}

func (r *replayer) effect(o *object, e effect, after *positions) error {
	stale := r.position > 0 && r.position <= after.object
	switch e {
	case effectCreate:
		kind, typ, params := Kind(r.Uint()), r.Text(), make([]uint64, r.Count())
		for i := range params {
			params[i] = r.Uint()
		}
		if r.position == 0 {
			after.object = r.Uint()
			r.after[o.id] = *after
		}
		if err := r.Err(); err != nil || stale || o.body != nil {
			return err
		}
		b, err := newBody(kind, params)
		if err != nil {
			return err
		}
		r.graph.fill(o, kind, typ, params, b)
		return nil
	case effectName, effectUnname:
		name := r.Text()
		if r.Err() != nil || stale {
			return nil
		}
		if e == effectName {
			r.graph.rename(o, name)
		} else {
			r.graph.unname(o, name)
		}
		return nil
	case effectAs:
		after.body = r.Uint()
		r.after[o.id] = *after
		return nil
	case effectWith:
		return r.other()
	}
	if o.body == nil {
		// Changed at the moment at which it was freed, and a snapshot has come in between. If it is mentioned after all, recovered finds it.
		r.Skip()
		return nil
	}
	k, ok := o.body.(kept)
	if !ok {
		return fmt.Errorf("%w: no %v has effects", journal.ErrRecord, o.kind)
	}
	if r.position > 0 && r.position <= after.body {
		// It is in the snapshot. Nothing but such effects follows.
		r.Skip()
		return nil
	}
	if err := k.replay(e, r); err != nil {
		return err
	}
	o.weigh(k)
	return nil
}

// other does what a record says about another object than the one that it is about.
func (r *replayer) other() error {
	id := r.Uint()
	effects := r.Bytes()
	if r.with || r.Err() != nil {
		return errors.Join(errEffect, r.Err())
	}
	rec := r.Reader
	defer func() { r.Reader, r.with = rec, false }()
	r.Reader, r.with = journal.NewReader(effects), true
	return r.effects(ID(id))
}

// value reads a value.
func (r *replayer) value() (data string, m *mentions) {
	data = r.Text()
	n := r.Count()
	if n == 0 {
		return data, nil
	}
	m = &mentions{make([]*object, n)}
	for i := range m.objs {
		id := ID(r.Uint())
		if m.objs[i] = r.graph.objects[id]; m.objs[i] == nil {
			m.objs[i] = r.graph.expect(id)
		}
	}
	return data, m
}

// time reads what noteTime wrote.
func (r *replayer) time() time.Time {
	n := r.Int()
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n)
}

// A dump writes one object into a snapshot.
type dump struct {
	c *journal.Checkpoint
	o *object
	w *journal.Writer
}

// begin says that the body is to be dumped as it is now. Its guard is held.
func (d *dump) begin() {
	w := d.record()
	w.Uint(uint64(effectAs))
	w.Uint(d.c.Position())
	w.End()
}

func (d *dump) record() *journal.Writer {
	w := d.c.Begin()
	w.Uint(uint64(d.o.id))
	return w
}

// dumpSize is how much stands in one record of a snapshot.
const dumpSize = 64 << 10

// note writes an effect.
func (d *dump) note(e effect) *journal.Writer {
	if d.w != nil && d.w.Size() > dumpSize {
		d.end()
	}
	if d.w == nil {
		d.w = d.record()
	}
	d.w.Uint(uint64(e))
	return d.w
}

// ok reports whether to go on.
func (d *dump) ok() bool { return d.c.Err() == nil }

func (d *dump) end() {
	if d.w != nil {
		d.w.End()
		d.w = nil
	}
}

// dump writes all objects.
func (st *Store) dump(c *journal.Checkpoint) error {
	g := &st.graph
	g.mu.Lock()
	defer g.mu.Unlock()
	// What is freed while the snapshot is made is in it all the same: the journal mentions it, from before it was freed.
	last := g.last
	g.freeing = []*object{}
	defer func() { g.freeing = nil }()
	one := func(o *object) bool {
		if o.id > last || o.body == nil { // made later: the journal has it all
			return true
		}
		name, at := o.name, c.Position()
		g.mu.Unlock()
		defer g.mu.Lock()
		d := &dump{c: c, o: o}
		w := d.record()
		noteCreate(w, o)
		w.Uint(at)
		if name != "" {
			w.Uint(uint64(effectName))
			w.Text(name)
		}
		w.End()
		if k, ok := o.body.(kept); ok {
			k.dump(d)
			d.end()
		}
		return d.ok()
	}
	for _, o := range g.objects { // the lock is held when this looks for the next
		if !one(o) {
			return c.Err()
		}
	}
	for len(g.freeing) > 0 {
		o := g.freeing[0]
		g.freeing = slices.Delete(g.freeing, 0, 1)
		if !one(o) {
			return c.Err()
		}
	}
	return c.Err()
}

func noteCreate(w *journal.Writer, o *object) {
	w.Uint(uint64(effectCreate))
	w.Uint(uint64(o.kind))
	w.Text(o.typ)
	w.Uint(uint64(len(o.params)))
	for _, p := range o.params {
		w.Uint(p)
	}
}

// noteLocked writes a record about an object itself.
func (g *graph) noteLocked(o *object, write func(w *journal.Writer)) {
	if g.ledger.journal == nil {
		return
	}
	w := g.ledger.journal.Begin()
	w.Uint(uint64(o.id))
	write(w)
	w.End()
}

// expect returns an object of which only the id is known so far. It has a reference from outside until everything is
// loaded.
func (g *graph) expect(id ID) *object {
	o := &object{id: id, ledger: g.ledger, ext: 1, mark: g.trace.number}
	g.objects[id] = o
	g.ledger.objects.Add(1)
	g.last = max(g.last, id)
	return o
}

func (g *graph) fill(o *object, k Kind, typ string, params []uint64, b body) {
	o.kind, o.typ, o.params, o.body = k, typ, params, b
	o.bytes.Store(o.base())
	g.ledger.bytes.Add(o.base())
	b.place(o, g)
	if k, ok := b.(kept); ok {
		o.weigh(k)
	}
}

func (g *graph) rename(o *object, name string) {
	if o.name == name {
		return
	}
	o.name = name
	o.ext++
	g.names[name] = o
}

func (g *graph) unname(o *object, name string) {
	if o.name != name {
		return
	}
	o.name = ""
	o.ext--
	if g.names[name] == o {
		delete(g.names, name)
	}
}

// recovered drops what no name leads to.
func (g *graph) recovered() error {
	g.mu.Lock()
	for _, o := range g.objects {
		o.ext--
	}
	g.suspects = 1
	g.mu.Unlock()
	g.settle()
	g.mu.Lock()
	var waking []interface{ loaded() }
	var err error
	for _, o := range g.objects {
		if o.body == nil {
			err = fmt.Errorf("store: the journal mentions object %d, which was never made", o.id)
		}
		if q, ok := o.body.(*Queue); ok && q.dead != nil {
			if dead, ok := q.dead.body.(*Queue); !ok || dead.dead != nil { // it would be locked while this one is
				err = fmt.Errorf("store: the journal has object %d take the dead letters of queue %d", q.dead.id, o.id)
			}
		}
		if b, ok := o.body.(interface{ loaded() }); ok {
			waking = append(waking, b)
		}
	}
	g.mu.Unlock()
	if err == nil {
		for _, b := range waking { // they may lock the graph
			b.loaded()
		}
	}
	return err
}
