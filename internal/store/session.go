package store

import (
	"fmt"
	"maps"
	"slices"
	"sync"
)

// MaxName is the length in bytes up to which names of objects go.
const MaxName = 255

// A Session is one client's stake in a store: the references it holds, the keys it
// has leased, the offers it has made. Its methods are safe for concurrent use.
type Session struct {
	store *Store

	mu      sync.Mutex
	ended   bool
	held    map[ID]*holding
	leases  map[uint64]*lease
	claims  map[uint64]*Wait // what it waits for, and has been granted; nil until there is something
	leaving bool             // it ends in good order

	waits, waitBytes       int // calls that wait
	maxWaits, maxWaitBytes int
	stakes, stakeBytes     int // see stakeLocked
	taken                  int // bytes of messages that it has not confirmed

	snapshots map[uint64]*Snapshot
	watches   map[uint64]*Watch
	offers    map[Token]struct{}
}

// A holding is a session's references to one object. However many they are, the graph
// sees one.
type holding struct {
	obj    *object
	n      uint64
	claims int // of the session's, on this object
}

// NewSession begins a session. On a closed store it has ended already.
func (st *Store) NewSession() *Session {
	s := &Session{
		store:     st,
		held:      map[ID]*holding{},
		leases:    map[uint64]*lease{},
		snapshots: map[uint64]*Snapshot{},
		watches:   map[uint64]*Watch{},
		offers:    map[Token]struct{}{},
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.closed {
		s.ended = true
		return s
	}
	st.sessions[s] = struct{}{}
	return s
}

// Create makes an object. The session holds one reference to it. typ says in the front
// end's words what the elements are; it matters to Open only. Some kinds take parameters: how long an array is.
func (s *Session) Create(k Kind, typ string, params ...uint64) (ID, error) {
	if err := s.checkParams(k, params); err != nil {
		return 0, err
	}
	o, err := s.store.graph.create(k, typ, params)
	if err != nil {
		return 0, err
	}
	return s.adopt(o)
}

// Open returns the object of that name and makes it if there is none, unless create
// is false. The session holds one more reference to it. The object must be of
// that kind (ErrKind) and, if both that made it and typ say something, of that element
// type, and if both have parameters that are not 0, made with those (ErrType).
func (s *Session) Open(name string, k Kind, typ string, create bool, params ...uint64) (ID, error) {
	if name == "" || len(name) > MaxName {
		return 0, fmt.Errorf("%w: a name has 1 to %d bytes, not %d", ErrInvalid, MaxName, len(name))
	}
	if err := s.checkParams(k, params); err != nil {
		return 0, err
	}
	o, err := s.store.graph.open(name, k, typ, create, params)
	if err != nil {
		return 0, err
	}
	return s.adopt(o)
}

// adopt makes a reference, which the graph has counted, the session's.
func (s *Session) adopt(o *object) (ID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		s.store.graph.drop(o)
		return 0, ErrEnded
	}
	if h := s.held[o.id]; h != nil {
		h.n++
		s.store.graph.drop(o)
		return o.id, nil
	}
	s.held[o.id] = &holding{obj: o, n: 1}
	return o.id, nil
}

// retain adds the references that a value carries to the session. The caller holds
// the lock of a container that mentions them, so they live.
func (s *Session) retain(m *mentions) error {
	if m == nil || s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return ErrEnded
	}
	for _, o := range m.objs {
		if h := s.held[o.id]; h != nil {
			h.n++
		} else if s.store.graph.hold(o) {
			s.held[o.id] = &holding{obj: o, n: 1}
		}
		// Not alive: then the container was freed under the caller, who had let go of
		// it in another goroutine. Whoever uses the reference learns ErrNotFound.
	}
	return nil
}

// value is a stored value as the session gets it.
func (s *Session) value(data string, m *mentions) (Value, error) {
	if err := s.retain(m); err != nil {
		return Value{}, err
	}
	return Value{data, m.ids()}, nil
}

// mention finds the objects of a value that the session wants to store.
func (s *Session) mention(refs []ID) (*mentions, error) {
	if len(refs) == 0 {
		return nil, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m := &mentions{make([]*object, len(refs))}
	for i, id := range refs {
		o, err := s.objectLocked(id)
		if err != nil {
			return nil, fmt.Errorf("a value mentions an object: %w", err)
		}
		m.objs[i] = o
	}
	return m, nil
}

func (s *Session) objectLocked(id ID) (*object, error) {
	if h := s.held[id]; h != nil {
		return h.obj, nil
	}
	if s.ended {
		return nil, ErrEnded
	}
	return nil, fmt.Errorf("%w: the session holds no reference to object %d", ErrNotFound, id)
}

// KindOf returns the kind of an object to which the session must hold a reference.
func (s *Session) KindOf(id ID) (Kind, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, err := s.objectLocked(id)
	if err != nil {
		return 0, err
	}
	return o.kind, nil
}

// SizeOf returns how many entries an object has, and how many bytes these have. The session must hold a reference to it.
func (s *Session) SizeOf(id ID) (entries, bytes int64, err error) {
	s.mu.Lock()
	o, err := s.objectLocked(id)
	s.mu.Unlock()
	if err == nil {
		entries, bytes = o.body.size()
	}
	return entries, bytes, err
}

func (s *Session) object(id ID, k Kind) (*object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, err := s.objectLocked(id)
	if err == nil && o.kind != k {
		err = fmt.Errorf("%w: object %d is a %v, not a %v", ErrKind, id, o.kind, k)
	}
	return o, err
}

// Release gives n references to an object back. The number is there for clients that
// are sent more references while they let go of those they have: they release as many as
// have reached them, and the rest stay. More than are held is ErrInvalid, and none is
// released.
func (s *Session) Release(id ID, n uint64) error {
	s.mu.Lock()
	h := s.held[id]
	if h == nil || n > h.n {
		s.mu.Unlock()
		return fmt.Errorf("%w: release of %d references to object %d, which are not held", ErrInvalid, n, id)
	}
	if h.n -= n; h.n > 0 {
		s.mu.Unlock()
		return nil
	}
	delete(s.held, id)
	on, waits := h.obj.body.(claimed)
	var claims []*Wait
	if waits && h.claims > 0 {
		claims = s.takeClaimsLocked(h.obj)
	}
	s.mu.Unlock()
	if waits {
		forsakeAll(claims, false)
		on.left(s, false)
	}
	s.store.graph.drop(h.obj)
	return nil
}

// Offer puts a reference on its way to another session, which claims it by the token.
// Until then the object lives, and for Options.OfferGrace after this session has ended.
func (s *Session) Offer(id ID) (Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, err := s.objectLocked(id)
	if err != nil {
		return Token{}, err
	}
	if err := s.stakeLocked(offerBytes); err != nil {
		return Token{}, err
	}
	token, ok := s.store.graph.offer(o, s)
	if !ok {
		s.unstakeLocked(offerBytes)
		return Token{}, ErrEnded
	}
	s.offers[token] = struct{}{}
	return token, nil
}

// Withdraw takes an offer of this session back, if nobody has claimed it.
func (s *Session) Withdraw(t Token) {
	s.mu.Lock()
	mine := s.forgetOfferLocked(t)
	s.mu.Unlock()
	if mine {
		s.store.graph.withdraw(t)
	}
}

// Claim takes an offered reference, whoever offered it. A token is good for one claim.
func (s *Session) Claim(t Token) (ID, error) {
	o, ok := s.store.graph.claim(t)
	if !ok {
		return 0, fmt.Errorf("%w: the offered reference was claimed before, or its sender is gone", ErrNotFound)
	}
	o.settle(t)
	return s.adopt(o.obj)
}

// forgetOfferLocked reports whether the session has that offer, and forgets it.
func (s *Session) forgetOfferLocked(t Token) bool {
	_, mine := s.offers[t]
	if mine {
		delete(s.offers, t)
		s.unstakeLocked(offerBytes)
	}
	return mine
}

// End drops all that the session holds. Operations of the session that still run fail
// or take effect as a whole; their waits end when the front end cancels their contexts.
// It is safe to call twice.
func (s *Session) End() {
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return
	}
	s.ended = true
	held, leases, snapshots, watches, offers := s.held, s.leases, s.snapshots, s.watches, s.offers
	claims := slices.Collect(maps.Values(s.claims))
	s.held, s.leases, s.snapshots, s.watches, s.offers, s.claims = nil, nil, nil, nil, nil, nil
	died := !s.leaving
	s.mu.Unlock()

	forsakeAll(claims, true)
	for _, h := range held {
		if on, ok := h.obj.body.(claimed); ok {
			on.left(s, died)
		}
	}
	for _, l := range leases {
		l.dict.giveBack(l)
	}
	for _, snap := range snapshots {
		snap.free()
	}
	for _, w := range watches {
		w.end()
	}
	objs := make([]*object, 0, len(held))
	for _, h := range held {
		objs = append(objs, h.obj)
	}
	s.store.graph.drop(objs...)
	if len(offers) > 0 {
		tokens := make([]Token, 0, len(offers))
		for t := range offers {
			tokens = append(tokens, t)
		}
		s.store.withdrawLater(tokens)
	}
	s.store.mu.Lock()
	delete(s.store.sessions, s)
	s.store.mu.Unlock()
}

func (s *Session) leaseCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.leases)
}
