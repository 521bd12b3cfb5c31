package membership

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

var variables = []string{"RINGRUN_ID", "RINGRUN_RUN", "RINGRUN_SECRET", "RINGRUN_BIND",
	"RINGRUN_ADVERTISE", "RINGRUN_FOUND", "RINGRUN_JOIN", "RINGRUN_EXPECT"}

// setEnv sets these variables and no others of ours.
func setEnv(t *testing.T, vars map[string]string) {
	t.Helper()
	for _, v := range variables {
		t.Setenv(v, vars[v])
	}
}

func TestFromEnv(t *testing.T) {
	secret := strings.Repeat("ab", 32)
	setEnv(t, map[string]string{
		"RINGRUN_ID": "p1-12ab", "RINGRUN_RUN": "night", "RINGRUN_SECRET": secret, "RINGRUN_BIND": "10.0.0.1:7000",
		"RINGRUN_ADVERTISE": "1.2.3.4", "RINGRUN_JOIN": "10.0.0.2:7000, host:7001,", "RINGRUN_EXPECT": "4",
	})
	got, err := FromEnv()
	want := Config{
		ID: "p1-12ab", Run: "night", Secret: bytes.Repeat([]byte{0xab}, 32), Bind: "10.0.0.1:7000",
		Advertise: "1.2.3.4", Join: []string{"10.0.0.2:7000", "host:7001"}, Expect: 4,
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	if err := got.withDefaults().validate(); err != nil {
		t.Error(err)
	}
}

// Without any variable a program started by hand is a group of its own, which
// nobody else can join.
func TestFromEnvNothing(t *testing.T) {
	setEnv(t, nil)
	a, err := FromEnv()
	if err != nil {
		t.Fatal(err)
	}
	b, _ := FromEnv()
	if !a.Found || len(a.Secret) != 32 || bytes.Equal(a.Secret, b.Secret) {
		t.Errorf("got %+v, and %+v again", a, b)
	}
	a, b = a.withDefaults(), b.withDefaults()
	if a.ID == b.ID || a.Bind != "127.0.0.1:0" {
		t.Errorf("defaults %+v, and %+v again", a, b)
	}
	if err := a.validate(); err != nil {
		t.Error(err)
	}
}

func TestFromEnvErrors(t *testing.T) {
	secret := strings.Repeat("5e", 32)
	for _, tt := range []struct{ name, value, want string }{
		{"RINGRUN_SECRET", "", "is not set"},
		{"RINGRUN_SECRET", "5e5e5e5e5e5e5e5e5x", "is not hexadecimal"},
		{"RINGRUN_SECRET", "5e5e", "has 2 bytes, at least 16"},
		{"RINGRUN_FOUND", "maybe", `is "maybe"`},
		{"RINGRUN_FOUND", "0", "found a group, or join which?"},
		{"RINGRUN_EXPECT", "0", `is "0"`},
		{"RINGRUN_EXPECT", "many", `is "many"`},
		{"RINGRUN_JOIN", "host", `holds "host": want host:port`},
		{"RINGRUN_JOIN", "host:http", `holds "host:http": port "http"`},
	} {
		vars := map[string]string{"RINGRUN_SECRET": secret, "RINGRUN_FOUND": "1"}
		vars[tt.name] = tt.value
		setEnv(t, vars)
		_, err := FromEnv()
		if err == nil || !strings.Contains(err.Error(), tt.name) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s=%s: %v, want it to name the variable and say %q", tt.name, tt.value, err, tt.want)
		} else if strings.Contains(err.Error(), "5e5e") {
			t.Errorf("%s=%s: %v shows the secret", tt.name, tt.value, err)
		}
	}
}

func TestConfigValidate(t *testing.T) {
	for _, tt := range []struct {
		want   string
		change func(*Config)
	}{
		{"", func(*Config) {}},
		{"", func(c *Config) { c.Found, c.Join = false, []string{"host:1"} }},
		{"", func(c *Config) { c.Advertise = "::1" }},
		{"", func(c *Config) { c.Bind = ":0" }},
		{"ID", func(c *Config) { c.ID = "a\nb" }},
		{"ID", func(c *Config) { c.ID = strings.Repeat("x", maxNameBytes+1) }},
		{"Run", func(c *Config) { c.Run = "\xff" }},
		{"Secret has 15 bytes", func(c *Config) { c.Secret = c.Secret[:15] }},
		{"Meta has 1025 bytes", func(c *Config) { c.Meta = make([]byte, 1025) }},
		{"neither Found nor Join", func(c *Config) { c.Found = false }},
		{"negative", func(c *Config) { c.Expect = -1 }},
		{"negative", func(c *Config) { c.JoinTimeout = -time.Second }},
		{`Bind "localhost"`, func(c *Config) { c.Bind = "localhost" }},
		{`Bind "localhost:65536"`, func(c *Config) { c.Bind = "localhost:65536" }},
		{`Advertise "host:x"`, func(c *Config) { c.Advertise = "host:x" }},
		{`Join "host"`, func(c *Config) { c.Join = []string{"host"} }},
	} {
		c := testConfig("a")
		c.Found = true
		tt.change(&c)
		err := c.validate()
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%+v: %v, want %q", c, err, tt.want)
		}
	}
}

// Keys depend on the secret, the purpose and the run, and nothing runs together.
func TestDeriveKey(t *testing.T) {
	seen := [][]byte{}
	for _, k := range []struct{ secret, purpose, run string }{
		{"s", "hello", "run"}, {"s", "gossip", "run"}, {"s", "hello", "nur"}, {"t", "hello", "run"}, {"s", "hello\x00run", ""},
	} {
		key := deriveKey([]byte(k.secret), k.purpose, k.run)
		if len(key) != 32 || slices.ContainsFunc(seen, func(b []byte) bool { return bytes.Equal(b, key) }) {
			t.Errorf("%+v: key %x, seen %x", k, key, seen)
		}
		seen = append(seen, key)
	}
}
