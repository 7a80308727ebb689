// Command genlogs writes access logs for benchmarks: always the same bytes for the same
// flags. A file that is there already with the right size is left alone.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

func main() {
	dir := flag.String("dir", ".", "where to write the files")
	files := flag.Int("files", 8, "number of files")
	size := flag.Int64("size", 250_000_000, "bytes per file, to the next full line")
	clients := flag.Int("clients", 20_000, "distinct client addresses per file")
	seed := flag.Uint64("seed", 1, "another seed gives other files")
	flag.Parse()
	log.SetFlags(0)
	if err := os.MkdirAll(*dir, 0o777); err != nil {
		log.Fatal(err)
	}
	for i := range *files {
		name := filepath.Join(*dir, fmt.Sprintf("access-%d.log", i+1))
		if info, err := os.Stat(name); err == nil && info.Size() >= *size && info.Size() < *size+4096 {
			continue
		}
		if err := generate(name, *size, *clients, *seed, uint64(i)); err != nil {
			log.Fatal(err)
		}
	}
}

// paths are the ends of lines; their lengths make a line about 95 bytes long.
var paths = []string{
	"/", "/index.html", "/shop/cart", "/shop/item?id=", "/static/app.js", "/static/style.css",
	"/api/v2/users/", "/images/products/large/", "/search?q=coat&page=", "/news/2025/10/",
}

func generate(name string, size int64, clients int, seed, file uint64) error {
	rng := rand.New(rand.NewPCG(seed, file))
	addresses := make([]string, 0, clients)
	for seen := map[string]bool{}; len(addresses) < clients; {
		a := fmt.Sprintf("%d.%d.%d.%d", 1+rng.IntN(223), rng.IntN(256), rng.IntN(256), 1+rng.IntN(254))
		if !seen[a] {
			seen[a] = true
			addresses = append(addresses, a)
		}
	}
	// Everybody comes at least once, in a file that is long enough.
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	at := time.Date(2025, 10, 10, 0, 0, 0, 0, time.UTC)
	var line []byte
	for written, n := int64(0), 0; written < size; n++ {
		client := n
		if n >= clients {
			client = rng.IntN(clients)
		}
		if rng.IntN(20) == 0 {
			at = at.Add(time.Second)
		}
		line = append(line[:0], addresses[client]...)
		line = append(line, " - - ["...)
		line = at.AppendFormat(line, "02/Jan/2006:15:04:05 -0700")
		line = append(line, `] "GET `...)
		line = append(line, paths[rng.IntN(len(paths))]...)
		line = strconv.AppendUint(line, uint64(rng.Uint32()), 10)
		line = append(line, ` HTTP/1.1" 200 `...)
		line = strconv.AppendInt(line, int64(rng.IntN(1_000_000)), 10)
		line = append(line, '\n')
		written += int64(len(line))
		if _, err := w.Write(line); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Close()
}
