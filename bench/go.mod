module github.com/go-multiproc/multiproc/bench

go 1.26.0

require (
	github.com/go-multiproc/multiproc v0.0.0
	github.com/redis/go-redis/v9 v9.22.0
	golang.org/x/sys v0.49.0
)

require (
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/edsrzf/mmap-go v1.2.0 // indirect
	github.com/fxamacker/cbor/v2 v2.9.6 // indirect
	github.com/gofrs/flock v0.13.1 // indirect
	github.com/x448/float16 v0.8.4 // indirect
	go.uber.org/atomic v1.11.0 // indirect
)

replace github.com/go-multiproc/multiproc => ../
