package seg

// Check is the check that Open makes, for a handle that came another way: whether
// the segment holds the kind of object with the type of elements.
func (h *Handle) Check(kind, typ string) error { return h.m.foot.check(kind, typ) }
