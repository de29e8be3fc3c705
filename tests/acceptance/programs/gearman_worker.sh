#!/bin/sh
# The command line tool gearman as a worker, a process for each behaviour. Arguments: the server's port, functions; see
# libraries.py. The tool ends with its server, so it is started again; the pause keeps the wait from being busy.
port=$1
shift

work() {
    functions=$1
    shift
    while true; do
        gearman -w -h 127.0.0.1 -p "$port" $functions -- "$@"
        sleep 0.1
    done
}

upper=
for function in "$@"; do
    case ${function%@*} in
    upper) upper="$upper -f $function" ;; # one process may have many functions, all with the same command
    # It reads no output before all input is written: cat would wait for it, and it for cat.
    same) work "-f $function" sh -c 'file=$(mktemp) && cat > "$file" && cat "$file"; rm "$file"' & ;;
    # The output is the result; what is for the test goes another way.
    show) work "-f $function" sh -c 'od -An -v -tx1 | tr -d " \n" >&3; echo >&3; printf shown' 3>&1 & ;;
    refuse) work "-f $function" false & ;;
    esac
done
[ -z "$upper" ] || work "$upper" tr a-z A-Z &
wait
