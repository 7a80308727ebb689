//go:build multiproc_explore

package ring

// Digest is what a record is, in one number, for models.
func (rec *Record) Digest() uint64 { return uint64(rec.from)<<32 ^ uint64(rec.to) ^ rec.at<<40 }
