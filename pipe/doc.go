// Package pipe gives two processes, or two goroutines, the two ends of a conversation: whole messages, each an object or a
// run of bytes, in order, in both directions.
//
// # Trust
//
// The ends of New and NewOneWay are reachable only for those who were given one. A Listener on a Unix socket is
// protected by the socket file's mode (0600), and, like one on TCP, by Options.AuthKey: both sides prove that they know
// the key before the first message. Nothing is encrypted, so a TCP connection is for networks that one would
// send plain text over. Without an AuthKey everybody who reaches the socket is let in. What a peer sends is never trusted: objects are
// data and execute nothing, lengths are checked before memory is taken, and a peer can spoil its own
// connection only. The handshake is that of Python's multiprocessing.connection, and has its limit: somebody without the key to whom a
// client connects by mistake can pass the listener's challenge on to it, and so talk to the listener in its name.
//
// # Death
//
// When the process that holds the other end dies, everything that it had sent completely can still be received; then Recv
// returns io.EOF, or io.ErrUnexpectedEOF if it died inside a message, or an error that is syscall.ECONNRESET if it left messages of
// ours unread. Send then returns an error that is syscall.EPIPE or syscall.ECONNRESET. A process that has stopped but not died
// is met with deadlines.
//
// # Close
//
// Close of either end ends the conversation: the other side receives io.EOF behind the last message. It wakes every goroutine that is blocked on this end.
// An end that is sent away or passed to a process has moved: the sender's copy closes by itself as soon as
// the message is out, so that io.EOF means what it should. An end that becomes unreachable is closed by the garbage collector, some time.
//
// # Example
//
//	a, b, err := pipe.New()
//	…
//	p := process.New(child, b) // b moves into the child
//	…
//	err = a.Send(request{Lines: lines})
//	var r reply
//	err = a.Recv(&r)
//
// # Messages
//
// A message is a frame of Python's multiprocessing.connection, so SendBytes and RecvBytes talk to Python's send_bytes and recv_bytes.
// Objects are CBOR in such a frame, where Python's send pickles: between the languages, exchange bytes.
// Objects may contain handles of this module, *os.File, net.Conn and net.Listener, anywhere; those cross on Unix sockets only.
//
// # Something else
//
// For many producers or consumers, or to survive a consumer that dies, use package queue. For state that several
// processes change, use packages value, array or manager. Goroutines of one process use a channel.
package pipe
