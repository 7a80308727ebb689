// Package manager shares containers, queues, locks and objects of one's own types between processes: a server process holds them, and every process
// that has a handle uses them in place, as with Python's multiprocessing.Manager.
//
// # Trust
//
// Whoever is let in can do everything: read, change, shut down. A Unix socket (the default, mode 0600 in a directory of mode 0700) lets in this
// user, root, and the users of Options.AllowUIDs; the kernel vouches for who it is. TCP needs Options.AuthKey, which both sides prove to know
// (HMAC-SHA256 of random challenges), in any case. Without Options.TLS what is said on TCP can be read, and changed by somebody in the middle; with it it is encrypted, and the server is known by its certificate.
//
// Neither side believes what it is sent: a client that sends garbage, or nothing, or reads nothing,
// harms its own connection only, and nothing that is sent is ever executed. The same holds for the memory that a client and its server share: what stands in it is checked, and copied before it is looked at.
// What a client can cost is bounded, before it has introduced itself and after (Options.MaxConnections, HelloTimeout, MaxMessage, MaxWaiting,
// MaxBuffered); who meets a limit is told which. The server stores the bytes of values, and looks into them only where it is asked to: to compare, sort, add, or change a part.
//
// # Death
//
// When a client process dies, however it does, its handles are released, its waiting calls end, and a key that it was
// updating is free again, with its old value. So it is, at once, with all else that it had: a lock is abandoned, and the next one gets psync.ErrOwnerDied and may recover it; permits
// come back; messages that it had leased are delivered again, and none is swallowed that it waited for; a barrier that it took part in breaks; methods that it called in the server have their ctx ended. When the server dies, every call, those under
// way included, fails at once with an error that is ErrDown and says how it died. A server that is stopped but not dead is silent: calls wait, as
// long as their ctx says, and those that take none, half a minute. A server that Start started ends with the process that started it, also when that is killed.
//
// What a server held is gone with it, unless Options.Path names a directory in which it keeps it. Then the next server with that path has, after a kill -9 at
// any moment, all that was acknowledged: the named objects and what they mention, each change as a whole or not at all, in the order in which they were made. What a power cut may take away, Options.Sync
// says. Handles belong to the server that gave them and stay ErrDown; open the objects anew by their names. Objects without a name, that no named one mentions,
// are not kept, nor is what belonged to client processes, which have lost it with the server: locks come back free, leases are given back. Objects of own types (Register) come back as new, unless the type is Type.Durable.
// While nothing can be written at Path, because the disk is full, calls that change something fail with ErrJournal and have done nothing; reading goes on, and so does
// everything once there is room.
//
// # Close
//
// Objects are counted: one is freed when the last handle to it in the last process is closed or unreachable, and no other
// object that lives mentions it. Containers that mention each other in a circle are freed as well. Named objects (those that OpenDict, OpenList and so on return)
// stay until Manager.Remove; Manager.Names tells them. A handle on its way to another process keeps its object; should the sender end before the receiver has it, for
// one minute. It crosses with a descriptor that tells when it is lost on the way, so pipes over TCP do not carry handles; there, Connect. Manager.Close shuts down a server that Start returned, and otherwise closes a connection that nothing uses any more.
//
// # Example
//
//	m, err := manager.Start(manager.Options{})
//	…
//	defer m.Close()
//	visits, err := manager.NewDict[string, int](m)
//	…
//	p := process.New(count, visits)   // handles cross like any other argument
//	…
//	n, err := visits.Update(ctx, "/index", func(n int, ok bool) (int, error) { return n + 1, nil })
//
// Containers nest, and what is inside is live:
//
//	lists, err := manager.NewDict[string, *manager.List[int]](m)
//	l, ok, err := lists.Get(ctx, "a")
//	err = l.Append(ctx, 1)            // everybody sees it
//
// What changes a value depending on what it is happens in one step: on the server (Add, CompareAndSwap, GetOrSet, and any of them on a part of a value, see Place), or in this process
// while others wait (Dict.Update). A Dict, List, Set, Namespace, Value or Array can be watched: see Watch.
//
// # When to use something else
//
// A call costs a round trip to another process: microseconds on the same machine, where requests and replies go through shared memory once a
// connection stands, several times that over a socket, and some thousand times what memory costs in any case. Numbers and structs of
// fixed size are better in package value or array, work to be handed out in package queue or pool, and what only one process
// uses in a map. What must outlive the server belongs in a database.
//
// The protocol is described in docs/protocol.md, well enough to write a client in another language.
package manager
