# Of `go test -v`'s output, what the explorer says of each model, and whatever went wrong.
/: explored / {
	sub(/^.*: explored /, "")
	print; fflush()
	if (match($0, /[0-9]+ states/)) {
		states += substr($0, RSTART, RLENGTH - 7)
		models++
	}
	next
}
/^    --- PASS: TestExploreFinds/ { sub(/^.*TestExploreFinds\/?/, "found: "); print; fflush(); found++; next }
/^ *--- FAIL|^FAIL|^panic/ { failed = 1 }
/^ok/ { failed = 0 }
failed || /^ +[0-9]+  [A-Z]/ { if (failed) print }
END { printf "%d models, %d states; %d planted faults found\n", models, states, found }
