// Package tests holds the integration tests: what needs several packages and several
// processes at once, or the whole program. A test of one package stands in that package.
package tests
