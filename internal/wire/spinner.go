package wire

// A Spinner is the decision to spin or not for a stream that its owner reads without a Conn. It counts among this
// process's spinners. The zero value is ready for use, by one goroutine at a time.
type Spinner struct{ s spinner }

// Spin calls try until it reports true or waiting no longer promises to pay, and reports which. Whether it does or not,
// the stream counts as being waited for until Done.
func (s *Spinner) Spin(try func() bool) bool {
	if s.s.slot == nil {
		s.s.init()
	}
	return s.s.spin(try)
}

// Done says that the wait is over. Without a Spin before, it does nothing.
func (s *Spinner) Done() {
	if s.s.slot != nil {
		s.s.done()
	}
}
