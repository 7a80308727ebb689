package handover

import (
	"reflect"
	"slices"
)

// ancestors are the pointers, maps and slices that the walk is inside of. One that it meets again contains itself. One that it meets
// again after having left it is shared, which is fine.
type ancestors struct {
	path []ancestor
	set  map[ancestor]struct{} // of path, from when that was too long to look through
}

type ancestor struct {
	at uintptr // compared only, and the walk keeps the value alive
	n  int     // of a slice: its elements may be a slice that begins at the same place
	t  reflect.Type
}

const shortPath = 32

// push reports false if v is among the ancestors: the walk then ends, and no pop is due.
func (a *ancestors) push(v reflect.Value) bool {
	x := ancestor{t: v.Type()}
	switch v.Kind() {
	case reflect.Pointer, reflect.Map:
		x.at = v.Pointer()
	case reflect.Slice:
		x.at, x.n = v.Pointer(), v.Len()
	}
	if x.at == 0 || v.Kind() == reflect.Slice && x.n == 0 { // nothing in it, or an array: that can only contain itself by way of another
		a.path = append(a.path, ancestor{})
		return true
	}
	found := false
	if a.set == nil && len(a.path) == shortPath {
		a.set = make(map[ancestor]struct{})
		for _, y := range a.path {
			a.set[y] = struct{}{}
		}
	}
	if a.set == nil {
		found = slices.Contains(a.path, x)
	} else {
		_, found = a.set[x]
		a.set[x] = struct{}{}
	}
	a.path = append(a.path, x)
	return !found
}

func (a *ancestors) pop() {
	last := len(a.path) - 1
	if a.set != nil {
		delete(a.set, a.path[last])
	}
	a.path = a.path[:last]
}
