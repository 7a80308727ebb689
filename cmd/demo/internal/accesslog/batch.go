package accesslog

import (
	"encoding/binary"
	"errors"
	"iter"
)

// Batches yields all clients, packed into byte strings that are handed to another process
// and given to AddBatch there. Each is about size bytes long, longer if one client is.
// The bytes are good until the next one.
//
// A batch is the clients one after the other, each behind its length as a uvarint: a set of
// millions costs one message per batch, not one element per client, and needs no second
// copy of itself in memory.
func (c *Clients) Batches(size int) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		var batch []byte
		for client := range c.All() {
			if len(batch) > 0 && len(batch)+len(client) >= size {
				if !yield(batch) {
					return
				}
				batch = batch[:0]
			}
			batch = binary.AppendUvarint(batch, uint64(len(client)))
			batch = append(batch, client...)
		}
		if len(batch) > 0 {
			yield(batch)
		}
	}
}

// AddBatch adds the clients of a batch. It keeps no reference to it. If the batch is not
// one, it returns an error, and may have added a part of it.
func (c *Clients) AddBatch(batch []byte) error {
	for len(batch) > 0 {
		n, used := binary.Uvarint(batch)
		if used <= 0 || n > uint64(len(batch)-used) {
			return errors.New("accesslog: a batch of clients is damaged")
		}
		c.Add(batch[used : used+int(n)])
		batch = batch[used+int(n):]
	}
	return nil
}
