package pipe

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// resolve checks the address, and returns what to give to package net in its place until release is called.
func resolve(network, address string) (target string, release func(), err error) {
	switch network {
	case "tcp", "tcp4", "tcp6":
		return address, func() {}, nil
	case "unix":
	default:
		return "", nil, net.UnknownNetworkError(network)
	}
	switch {
	case address == "":
		return "", nil, errors.New("a Unix socket needs a path")
	case address[0] == '@' || address[0] == 0:
		// Everybody in the network namespace can connect to one, whoever they are: CVE-2022-42919 came of that.
		return "", nil, errors.New(`abstract sockets are not supported, because no file mode protects them; for a file whose name begins with @ write "./@…"`)
	case strings.IndexByte(address, 0) >= 0:
		return "", nil, errors.New("the path contains a NUL byte")
	case len(address) <= maxSocketPath:
		return address, func() {}, nil
	}
	if base := filepath.Base(address); len(base) > maxSocketPath/2 {
		return "", nil, fmt.Errorf("the file name %s is too long for a Unix socket: %d bytes, and %d are possible", base, len(base), maxSocketPath/2)
	}
	return shorten(address)
}

// address is what package net calls sa.
func address(sa unix.Sockaddr) net.Addr {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return &net.TCPAddr{IP: sa.Addr[:], Port: sa.Port}
	case *unix.SockaddrInet6:
		a := &net.TCPAddr{IP: sa.Addr[:], Port: sa.Port}
		if sa.ZoneId != 0 {
			a.Zone = fmt.Sprint(sa.ZoneId)
			if i, err := net.InterfaceByIndex(int(sa.ZoneId)); err == nil {
				a.Zone = i.Name
			}
		}
		return a
	case *unix.SockaddrUnix:
		return &net.UnixAddr{Net: "unix", Name: sa.Name}
	}
	return &net.UnixAddr{Net: "unix"}
}
