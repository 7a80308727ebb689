// Package duplex carries a stream of bytes each way between two processes of one machine, through two rings in shared
// memory, beside a Unix socket that the two have already.
//
// # Trust
//
// None. The peer can write anything into the memory at any time. So nothing in it is read twice: each side keeps its own
// positions to itself, reads the peer's position once, checks that it lies where it can, and copies bytes out before anybody looks at them.
// What a peer writes there can end its own connection (ErrGarbage), or leave it silent, and that is all. The memory's size is
// sealed, so that a peer cannot take it away under a reader.
//
// # Death
//
// The socket tells: its end is the end of the stream, behind all bytes that were published before. Whoever is killed inside a
// Write leaves what it had published, as it would have with a socket.
//
// # Waiting
//
// A side that finds nothing tries for some microseconds, where that has paid lately (wire.Spinner), says in the memory that it
// sleeps, looks once more, and then waits for the socket in Go's poller. The peer finds the word after its next step, takes it back, and sends one byte: the bell.
// So a conversation in full swing makes no system calls, and a quiet one costs one goroutine in the poller and no thread. An
// eventfd would be a little faster to ring, but is a descriptor more for each direction, and says nothing when its other end dies.
// A side that finds no room waits in the same way; it is woken when half of the ring is free, and not for every byte.
//
// Close wakes whoever is blocked, and gives the memory back when they have left it.
//
//	server                                   client
//	m, err := duplex.Create(64 << 10)
//	fd, err := m.FD()                     →  m, err := duplex.Attach(fd, 64 << 10)   // fd by SCM_RIGHTS
//	c, err := duplex.New(m, conn, Creator)   c, err := duplex.New(m, conn, Attacher)
//
// Messages, and processes that are not connected, are better served by package queue.
package duplex
