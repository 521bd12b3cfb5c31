package elastic

import (
	"errors"
	"fmt"
	"syscall"
)

// notOurs explains why an address cannot be bound, if it is another host's.
func notOurs(host string, err error) error {
	if errors.Is(err, syscall.EADDRNOTAVAIL) {
		return fmt.Errorf("elastic: %s is no address of this host: bind one that it has (ip addr lists them): %w", host, err)
	}
	return err
}
