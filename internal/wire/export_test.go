package wire

// CountPayload is for tests of the ballast.
var CountPayload = countPayload

// Ballast reports whether there is any.
func Ballast() bool { return ballast.held.Load() != nil }

// ForgetPayloads has the ballast begin to count anew.
func ForgetPayloads() { ballast.bytes.Store(0) }
