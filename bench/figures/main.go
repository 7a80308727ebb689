// Command figures writes what a run of the benchmarks has found into the documentation: its tables and figures, between
// <!-- bench: NAME --> and <!-- /bench --> in the README and docs/performance.md, the figures into docs/figures, and the result itself beside them.
//
//	go run ./figures                              in bench: result.json, into the repository
//	go run ./figures -json ../docs/performance.json   the same tables again, after a change of how they are written
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/go-multiproc/multiproc/bench/result"
)

func main() {
	file := flag.String("json", "result.json", "what the benchmarks have written")
	root := flag.String("to", "..", "the root of the repository")
	flag.Parse()
	r, err := result.Load(*file)
	if err == nil {
		err = report(r, *root)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "figures:", err)
		os.Exit(1)
	}
}
