package main

import (
	"fmt"
	"path"
)

// shipScript takes a parcel at its standard input. It says:
//
//	free …       the last line of df for the folder
//	from N       that many bytes are there from a copy that was cut off
//	unpack WORD  how what it reads now is packed
//	done HASH    all is there
//	damaged N S  or all is there, but is N bytes long and has another hash
//
// The name of an unfinished copy has the host and the process that writes it, so
// that only what nobody writes any more is gone on with, although hosts may share
// the folder.
func shipScript(p parcel, dir, unpack string) string {
	how := `how=cat
if command -v gzip >/dev/null 2>&1; then how=gzip; fi`
	if unpack != "" {
		how = "how=zstd"
	}
	to := p.in(dir)
	return sumFunc + fmt.Sprintf(`
umask 077
to=%s want=%d hash=%s
mkdir -p %s && cd %s || exit 1
here=$(uname -n)
new=$to.part.$here.$$
for f in "$to.part.$here."*; do
	[ -f "$f" ] || continue
	kill -0 "${f##*.}" 2>/dev/null || mv -f "$f" "$new"
done
[ -f "$new" ] && [ "$(size "$new")" -le $want ] || : > "$new" || exit 1
%s
room() { df -Pk . 2>/dev/null | tail -n 1; }
say() { echo "%s$*"; }
say free "$(room)"
say unpack $how
say from "$(size "$new")"
case $how in
zstd) %s _unpack >> "$new" ;;
gzip) gzip -dc >> "$new" ;;
*) cat >> "$new" ;;
esac
got=$(size "$new")
sum=
[ "$got" -ge $want ] && sum=$(sum "$new")
if [ "$got" = $want ] && [ "${sum:-$hash}" = $hash ]; then
	chmod 700 "$new" && mv -f "$new" "$to" && : > .used && say done $hash
elif [ "$got" -ge $want ]; then
	rm -f "$new"
	say damaged "$got" "$sum"
else # an empty file helps nobody, nor one that fills the disk
	set -- $(room)
	if [ "$got" = 0 ] || [ "${4:-9999}" -lt 1024 ] 2>/dev/null; then rm -f "$new"; fi
fi
exit 0`, quote(to), p.size, p.hash, quote(path.Dir(to)), quote(path.Dir(to)), how, marker, quote(unpack))
}
