// Package docs holds the documentation, and the tests of what it claims.
package docs
