package wire

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Header sizes: the usual one, and the one of a payload above shortMax.
const (
	shortHeader = 4
	longHeader  = 12
	shortMax    = math.MaxInt32
)

// appendHeader appends the header of a payload of n bytes.
func appendHeader(b []byte, n int) []byte {
	if n <= shortMax {
		return binary.BigEndian.AppendUint32(b, uint32(n))
	}
	b = append(b, 0xff, 0xff, 0xff, 0xff)
	return binary.BigEndian.AppendUint64(b, uint64(n))
}

// parseHeader reads the header at the beginning of b. length is 0 while more bytes are needed.
func parseHeader(b []byte) (payload, length int, err error) {
	if len(b) < shortHeader {
		return 0, 0, nil
	}
	n := int32(binary.BigEndian.Uint32(b))
	switch {
	case n >= 0:
		return int(n), shortHeader, nil
	case n != -1:
		return 0, 0, fmt.Errorf("%w: frame of %d bytes", ErrProtocol, n)
	case len(b) < longHeader:
		return 0, 0, nil
	}
	long := binary.BigEndian.Uint64(b[shortHeader:])
	if long > math.MaxInt-longHeader {
		return 0, 0, fmt.Errorf("%w: frame of %d bytes", ErrProtocol, long)
	}
	return int(long), longHeader, nil
}
