package bench

import "testing"

func TestParseSize(t *testing.T) {
	for _, tt := range []struct {
		s    string
		want int // -1: an error
	}{
		{"0", 0}, {"4", 4}, {"1K", 1024}, {"64k", 65536}, {"1M", 1 << 20}, {"1.5M", 3 << 19},
		{"64MiB", 64 << 20}, {"2GB", 2 << 30}, {" 8 ", 8},
		{"", -1}, {"K", -1}, {"-4", -1}, {"4X", -1}, {"K4", -1}, {"0.3", -1}, {"1e30", -1}, {"NaN", -1}, {"Inf", -1},
	} {
		got, err := ParseSize(tt.s)
		if err != nil {
			got = -1
		}
		if got != tt.want {
			t.Errorf("ParseSize(%q) = %d, %v; want %d", tt.s, got, err, tt.want)
		}
		if err == nil {
			if again, err := ParseSize(FormatSize(got)); again != got || err != nil {
				t.Errorf("ParseSize(FormatSize(%d)) = %d, %v", got, again, err)
			}
		}
	}
}
