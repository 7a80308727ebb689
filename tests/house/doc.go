// Package house holds the rules of this repository as tests: what a reviewer would
// otherwise have to say again and again.
//
// A rule fails with the place and with what to do about it. To change a rule, change
// its test, and say why in the commit.
package house
