package pipe

import "github.com/go-multiproc/multiproc/internal/wire"

// Handshake is one side of a handshake.
func Handshake(w *wire.Conn, o Options, listener bool) error {
	if listener {
		return newAuthenticator(o).asListener(w)
	}
	return newAuthenticator(o).asClient(w)
}

// SendRaw sends a frame with descriptors.
func SendRaw(c *Conn, b []byte, fds []int) error { return c.w.WriteFrame(b, fds) }
