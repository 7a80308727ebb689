//go:build !linux

package manager

import "net"

// A socket is of no use here: connections are read and written through package net.
type socket struct{}

func (*socket) init(net.Conn)                {}
func (*socket) usable() bool                 { return false }
func (*socket) tryWrite([]byte) (int, error) { return 0, nil }
func (*socket) receive(b []byte, spin, park bool) (n int, ok bool, err error) {
	return 0, false, nil
}
