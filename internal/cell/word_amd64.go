package cell

// storeWord is an ordered store. amd64 keeps stores in their order, and what is
// needed here is no more than that; sync/atomic's store would be a locked
// instruction, which makes copying ten times slower.
func storeWord(p *uint64, v uint64) { *p = v }
