package manager

import (
	"context"
	"maps"
	"runtime"
	"slices"
	"time"

	"github.com/go-multiproc/multiproc/internal/store"
)

// Stats is what a server holds at one moment.
type Stats struct {
	// Objects counts the live objects by type: "dict", "list", ….
	Objects map[string]int

	// Entries counts the entries of all containers.
	Entries int

	// Bytes is the size of their keys and values, encoded, without what it costs to keep them.
	Bytes int64

	// Memory is about what all objects take, in bytes: what Options.MaxMemory bounds.
	Memory int64

	// Named counts the objects that have a name.
	Named int

	// InTransit counts handles that were sent to a process and have not arrived.
	InTransit int

	// Sessions counts the connected processes, this one included.
	Sessions int

	// Updating counts the keys that are being updated.
	Updating int

	// Waiting counts the calls, of all processes, that wait for somebody else.
	Waiting int

	// Uptime is how long the server has been running, in whole seconds, and Recovery how long it took before, to read what was kept at Options.Path.
	Uptime, Recovery time.Duration

	// Journal is the size in bytes of what was noted at Options.Path since the last snapshot, Snapshot that of the snapshot.
	Journal, Snapshot int64

	// Unsynced counts the bytes at Options.Path that a power cut may take away: what Options.Sync did not have synced so far.
	Unsynced int64

	// JournalError is why changes are being refused with ErrJournal; "" if they are not.
	JournalError string
}

// numbers are the fields in the order in which they travel. More may be added at the end.
func (s *Stats) numbers() []*int64 {
	return []*int64{&s.Bytes, &s.Memory, (*int64)(&s.Uptime), (*int64)(&s.Recovery), &s.Journal, &s.Snapshot, &s.Unsynced}
}

func (s *Stats) counts() []*int {
	return []*int{&s.Entries, &s.Named, &s.InTransit, &s.Sessions, &s.Updating, &s.Waiting}
}

// Stats asks the server what it holds. What this process has let go of before the call is not counted any more. It takes time in
// proportion to the number of objects.
func (m *Manager) Stats(ctx context.Context) (Stats, error) {
	c, err := m.use()
	if err != nil {
		return Stats{}, err
	}
	defer runtime.KeepAlive(m)
	cl := newCall(opStats)
	rep, err := c.do(ctx, cl)
	if err != nil {
		return Stats{}, err
	}
	defer cl.free()
	s := Stats{Objects: map[string]int{}}
	known := int(min(rep.uint(), uint64(max(rep.items, 0))))
	numbers := make([]int64, 0, 16)
	for range min(known, rep.items) {
		numbers = append(numbers, int64(rep.uint()))
	}
	next := func() (n int64) {
		if len(numbers) > 0 {
			n, numbers = numbers[0], numbers[1:]
		}
		return n
	}
	for _, p := range s.counts() {
		*p = int(next())
	}
	for _, p := range s.numbers() {
		*p = next()
	}
	s.JournalError = rep.text()
	for range (rep.items - known - 2) / 2 {
		k := store.Kind(rep.uint())
		s.Objects[k.String()] = int(rep.uint())
	}
	return s, rep.close()
}

// stats is the server's side.
func (r *request) stats(ctx context.Context) error {
	if !r.ok() {
		return nil
	}
	var st store.Stats
	err := long(ctx, r.server.store.Objects(), 0, func() error { st = r.server.store.Stats(); return nil })
	if err != nil {
		return err
	}
	s := Stats{
		Entries:   int(st.Entries),
		Bytes:     st.Bytes,
		Memory:    st.Memory,
		Named:     st.Named,
		InTransit: st.Offers,
		Sessions:  st.Sessions,
		Updating:  st.Leases,
		Waiting:   st.Waiting,
		Uptime:    time.Since(r.server.began).Truncate(time.Second),
		Recovery:  st.Recovery,
		Journal:   st.Journal.LogBytes,
		Snapshot:  st.Journal.SnapshotBytes,
		Unsynced:  st.Journal.Unsynced,
	}
	if err := st.Journal.Trouble; err != nil {
		s.JournalError = err.Error()
	}
	p := r.newLongReply(r.id, 0)
	counts, numbers := s.counts(), s.numbers()
	p.uint(uint64(len(counts) + len(numbers)))
	for _, n := range counts {
		p.uint(uint64(*n))
	}
	for _, n := range numbers {
		p.uint(uint64(*n))
	}
	p.text(s.JournalError)
	for _, k := range slices.Sorted(maps.Keys(st.Objects)) {
		p.uint(uint64(k))
		p.uint(uint64(st.Objects[k]))
	}
	p.send()
	return nil
}
