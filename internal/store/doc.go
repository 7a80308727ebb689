// Package store holds the manager's objects: dicts and lists of opaque bytes, who
// refers to them, and who is at work on them. It knows no wire format, no Go type of a
// user and no connection, so that several front ends can serve one store.
//
// A front end speaks for its clients through one [Session] each. It must be trusted: the
// store believes what a front end says about a client. A client need not be: whatever a
// session asks for, it reaches only objects that it holds a reference to.
//
// When a client dies its front end calls [Session.End]: its references are dropped, its
// leases are given back with the entries unchanged, its offers live on for
// [Options.OfferGrace] because their messages may still be under way. Waits are the front
// end's to cancel, through the context it passed.
//
// An object lives while something outside the store refers to it (a session, a name, an
// offer, a snapshot) or a container does that is itself so held. Containers that
// merely refer to each other are freed with the last reference from outside.
//
// [Store.Close] frees everything; its sessions fail from then on.
//
//	s := store.New(store.Options{}).NewSession()
//	id, err := s.Create(store.KindDict, "")
//	d, err := s.Dict(id)
//	err = d.Set(ctx, s, []byte("key"), store.Value{Data: "bytes"})
//
// Lock order: a container's lock, then a session's, then the graph's. No lock is held
// while anything is encoded, sent, or waited for.
package store
