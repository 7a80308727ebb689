// Package document looks into encoded values, and changes parts of them, without knowing any Go type: a value is one CBOR item, and a
// part of it is named by the steps that lead there, keys of maps and indexes of arrays.
//
// Values and steps may come from anybody. What is not CBOR, or not what an operation needs, is an error, memory is taken in proportion to the
// bytes given, and items are compared up to a bounded depth. The package keeps no state: nothing is left behind by a process
// that dies, nothing has to be closed, and all functions may be called by any number of goroutines at once.
//
//	doc, err := document.Set(doc, document.Path{step("b"), step(3)}, item) // doc["b"][3] = item
//
// Each call reads the value from its beginning and copies what it changes: a value that is changed often, and is large, should rather be several
// values.
package document
