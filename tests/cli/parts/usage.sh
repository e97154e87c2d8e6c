# ---- help and usage
help_of() {
    run 0 "$* --help" "$@" --help
    prints "usage: versavit" "example" "versavit ${1:-}"
    run 0 "$* -h" "$@" -h
}
names() { awk '/^commands:/ { on = 1; next } on && NF == 0 { exit } on { print $1 }' "$1"; }
run 0 "--help" --help
prints "example:"
names "$T/out" >"$T/commands"
claim "the commands are listed" test "$(wc -l <"$T/commands")" -ge 6
for c in $(cat "$T/commands"); do
    help_of "$c"
    run 2 "$c --no-such-option" "$c" --no-such-option
    says --no-such-option
done
help_of golden make
help_of golden record
help_of golden check
help_of golden floors
help_of golden list
run 0 "help" help
run 0 "--version" --version
prints "versavit " "products:" "backend cpu"
"$V" >"$T/out" 2>"$T/err"
claim "no arguments: status 2" test $? -eq 2
claim "no arguments: usage on stderr, nothing on stdout" test -s "$T/err" -a ! -s "$T/out"
"$V" golden >"$T/out" 2>"$T/err"
claim "golden without a verb: status 2" test $? -eq 2
run 2 "an unknown command" encod
says encod
run 2 "an unknown option" encode --colour x.png
says --colour "encode --help"
run 2 "an option without its value" init --config
says --config
run 2 "a number that is none" init -c micro -o "$T/w/m" --seed many
says --seed many
run 2 "a negative number" init -c micro -o "$T/w/m" --seed -1
says --seed
run 2 "too many threads" info micro --threads 5000
says --threads
run 2 "too few arguments" diff one
says diff
run 2 "too many arguments" info one two
says info
run 2 "nothing to write" encode --model "$T/m" "$S/shapes.png"
says -o --pca
run 2 "a type that is none" init -c micro -o "$T/w/m" --dtype F8
says --dtype F8
nothing
