//go:build !amd64

package cell

import "sync/atomic"

// storeWord is an ordered store.
func storeWord(p *uint64, v uint64) { atomic.StoreUint64(p, v) }
