package wire

// A Spinner is the decision to spin or not for a stream that its owner reads without a Conn. It counts among this
// process's spinners. The zero value is ready for use, by one goroutine at a time.
type Spinner struct{ s spinner }

// Spin calls try until it reports true or waiting no longer promises to pay, and reports which.
func (s *Spinner) Spin(try func() bool) bool { return s.s.spin(try) }
