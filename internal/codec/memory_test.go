package codec_test

import "runtime"

// memory is what was ever allocated.
type memory struct{ total uint64 }

func (m *memory) read() {
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	m.total = s.TotalAlloc
}
