# shellcheck shell=bash
# Settings and functions shared by the scripts. Sourced, not run.
# Every setting can be given in the environment.

# shellcheck disable=SC2034  # used by the scripts that source this
RS_HOME=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
rs_tmp=${TMPDIR:-/tmp}

: "${RS_DIR:=${rs_tmp%/}/doorward-stack}"      # all data, sockets, logs and PIDs
: "${RS_OWNER:=0}"                             # a PID: when it ends, the stack goes down and RS_DIR with it
# Ports. 0: a free one, picked at every fresh start.
: "${RS_LDAP1_PORT:=0}"                        # provider: LDAP, StartTLS
: "${RS_LDAPS1_PORT:=0}"                       # provider: LDAPS
: "${RS_LDAP2_PORT:=0}"                        # replica
: "${RS_LDAPS2_PORT:=0}"
: "${RS_IMAP_A_PORT:=0}"
: "${RS_IMAP_B_PORT:=0}"
: "${RS_IMAPS_A_PORT:=0}"                       # the same behind TLS, certificate of the test CA
: "${RS_IMAPS_B_PORT:=0}"
: "${RS_POP3_A_PORT:=0}"
: "${RS_POP3_B_PORT:=0}"
: "${RS_SIEVE_A_PORT:=0}"
: "${RS_SIEVE_B_PORT:=0}"
: "${RS_SUBMISSION_A_PORT:=0}"
: "${RS_SUBMISSION_B_PORT:=0}"
: "${RS_HTTP_A_PORT:=0}"
: "${RS_HTTP_B_PORT:=0}"
: "${RS_HTTPS_A_PORT:=0}"                      # certificate of the test CA
: "${RS_HTTPS_B_PORT:=0}"
: "${RS_HTTPS_EXPIRED_A_PORT:=0}"              # certificates to be refused
: "${RS_HTTPS_EXPIRED_B_PORT:=0}"
: "${RS_HTTPS_WRONGNAME_A_PORT:=0}"
: "${RS_HTTPS_WRONGNAME_B_PORT:=0}"
: "${RS_HTTPS_ROGUE_A_PORT:=0}"
: "${RS_HTTPS_ROGUE_B_PORT:=0}"
: "${RS_NODE_A_ADDR:=127.0.0.11}"              # node A again, told from B by address
: "${RS_NODE_B_ADDR:=127.0.0.12}"
: "${RS_NODE_PORT:=0}"                         # the port at both addresses
: "${RS_LDAP_EMPTY_BIND:=allow}"               # allow: DN with empty password 'succeeds'; deny
: "${RS_IMAP_AUTH:=ldap}"                      # ldap, or static (works without the directory)
: "${RS_STRICT_NODES:=1}"                      # 1: a node refuses the other node's users; 0: it does not
: "${RS_IMAP_FAIL_DELAY:=0}"                   # seconds a node waits before it says no
: "${RS_RC_SESSION_MIN:=10}"                   # minutes a Roundcube session lasts unused
: "${RS_RC_LOGIN_RATE:=0}"                     # Roundcube: failed logins a minute and user; 0: no limit
: "${RS_RC_IP_CHECK:=false}"                   # Roundcube: bind sessions to the client address
: "${RS_RC_DESKTOP_SKIN:=elastic}"             # Roundcube: skin where X-Doorward-Device says desktop; or larry
: "${RS_PHP_CHILDREN:=6}"                      # PHP processes a node at most
: "${RS_START_TIMEOUT:=90}"                    # seconds at most for everything to answer

: "${RS_DB_PORT:=0}"                           # PostgreSQL, for SOGo
: "${RS_SOGO_PORT:=0}"                         # SOGo, in front of node A's IMAP
: "${RS_HORDE_PORT:=0}"                        # Horde at /, in front of node A's IMAP
: "${RS_HORDE_SUB_PORT:=0}"                    # the same at /horde/
: "${RS_CYRUS_PORT:=0}"                        # Cyrus: JMAP and DAV
: "${RS_SQWEBMAIL_PORT:=0}"
: "${RS_RADICALE_PORT:=0}"
: "${RS_POSTFIX_PORT:=0}"                      # Postfix: submission, with STARTTLS
: "${RS_POSTFIX_TLS_PORT:=0}"                  # the same, TLS first
: "${RS_SMTP_PORT:=0}"                         # Postfix for the nodes, which relay to it

RS_PORTS=(RS_LDAP1_PORT RS_LDAPS1_PORT RS_LDAP2_PORT RS_LDAPS2_PORT
    RS_IMAP_A_PORT RS_IMAP_B_PORT RS_IMAPS_A_PORT RS_IMAPS_B_PORT RS_POP3_A_PORT RS_POP3_B_PORT
    RS_SIEVE_A_PORT RS_SIEVE_B_PORT RS_SUBMISSION_A_PORT RS_SUBMISSION_B_PORT RS_HTTP_A_PORT RS_HTTP_B_PORT RS_HTTPS_A_PORT RS_HTTPS_B_PORT
    RS_HTTPS_EXPIRED_A_PORT RS_HTTPS_EXPIRED_B_PORT RS_HTTPS_WRONGNAME_A_PORT RS_HTTPS_WRONGNAME_B_PORT
    RS_HTTPS_ROGUE_A_PORT RS_HTTPS_ROGUE_B_PORT RS_NODE_PORT RS_DB_PORT RS_SOGO_PORT
    RS_HORDE_PORT RS_HORDE_SUB_PORT RS_CYRUS_PORT RS_SQWEBMAIL_PORT RS_RADICALE_PORT
    RS_POSTFIX_PORT RS_POSTFIX_TLS_PORT RS_SMTP_PORT)
RS_SETTINGS=(RS_DIR "${RS_PORTS[@]}" RS_NODE_A_ADDR RS_NODE_B_ADDR
    RS_LDAP_EMPTY_BIND RS_IMAP_AUTH RS_STRICT_NODES RS_IMAP_FAIL_DELAY
    RS_RC_SESSION_MIN RS_RC_LOGIN_RATE RS_RC_IP_CHECK RS_RC_DESKTOP_SKIN RS_PHP_CHILDREN)
RS_SERVICES=(ldap1 ldap2 imap-a imap-b php-a php-b web-a web-b)
# Not started unless they are named: SOGo, and what it keeps its tables and its sessions in;
# and the servers of more.sh.
RS_MORE=(db cache sogo horde cyrus sqauth sqmail sqweb radicale postfix)
RS_PG=/usr/lib/postgresql/15/bin

say() { printf 'stack: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

rs_is_service() { case " ${RS_SERVICES[*]} ${RS_MORE[*]} " in *" $1 "*) ;; *) return 1 ;; esac; }

# The clock tick at which a process started: with the PID it names one process.
rs_birth() {
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    stat=${stat##*) }
    set -- $stat
    [ "$1" != Z ] || return 1
    echo "${20}"
}

# The recorded PID of a service, when that very process still runs.
rs_pid() {
    local pid birth
    read -r pid birth 2>/dev/null <"$RS_DIR/pids/$1" || return 1
    [ "$(rs_birth "$pid")" = "$birth" ] || return 1
    echo "$pid"
}

# What is begun under nohup, or in the background of a shell, ignores signals; servers shall not.
RS_BEGIN=(setsid env --default-signal --)

rs_launch() { # NAME COMMAND...: own process group, PID recorded
    local name=$1 pid
    shift
    "${RS_BEGIN[@]}" "$@" </dev/null >>"$RS_DIR/log/$name.out" 2>&1 9>&- &
    pid=$!
    echo "$pid $(rs_birth "$pid" || echo 0)" >"$RS_DIR/pids/$name"
}

rs_start() {
    local n=${1#*-}
    case $1 in
        ldap1) rs_launch ldap1 slapd -d stats -f "$RS_DIR/ldap1/slapd.conf" \
            -h "ldap://127.0.0.1:$RS_LDAP1_PORT/ ldaps://127.0.0.1:$RS_LDAPS1_PORT/" ;;
        ldap2) rs_launch ldap2 slapd -d stats -f "$RS_DIR/ldap2/slapd.conf" \
            -h "ldap://127.0.0.1:$RS_LDAP2_PORT/ ldaps://127.0.0.1:$RS_LDAPS2_PORT/" ;;
        imap-a|imap-b)
            rm -f "$RS_DIR/$1/run/master.pid"
            rs_launch "$1" dovecot -F -c "$RS_DIR/$1/dovecot.conf" ;;
        php-a|php-b)
            rm -f "$RS_DIR/web-$n/php.sock"
            rs_launch "$1" php-fpm8.2 --nodaemonize --fpm-config "$RS_DIR/web-$n/php-fpm.conf" ;;
        db) rs_db ;;
        cache)
            rs_launch cache setpriv --reuid=sogo --regid=sogo --clear-groups \
                memcached -s "$RS_DIR/sogo/cache.sock" -m 16 ;;
        sogo) rs_sogo ;;
        horde) rs_horde ;;
        cyrus) rs_cyrus ;;
        sqauth|sqmail|sqweb) rs_sqwebmail "$1" ;;
        radicale) rs_radicale ;;
        postfix) rs_postfix ;;
        web-a|web-b) rs_launch "$1" nginx -c "$RS_DIR/$1/nginx.conf" -e "$RS_DIR/log/nginx-$n.error.log" ;;
        *) die "no such service: $1 (there are: ${RS_SERVICES[*]})" ;;
    esac
}

# PostgreSQL without a password: it listens on the loopback only. Its tables are made anew with the stack.
rs_db() {
    local as=(setpriv --reuid=postgres --regid=postgres --clear-groups)
    if [ ! -e "$RS_DIR/db/PG_VERSION" ]; then
        install -d -o postgres -g postgres -m 700 "$RS_DIR/db"
        (cd / && "${as[@]}" "$RS_PG/initdb" -D "$RS_DIR/db" -U sogo -A trust -E UTF8 --locale=C --no-sync) \
            >>"$RS_DIR/log/db.out" 2>&1 || die "initdb failed: see $RS_DIR/log/db.out"
    fi
    rs_launch db "${as[@]}" "$RS_PG/postgres" -D "$RS_DIR/db" -p "$RS_DB_PORT" -c listen_addresses=127.0.0.1 \
        -c unix_socket_directories= -c fsync=off
}

# SOGo takes all its settings as arguments too, so that /etc/sogo is neither read for them nor written.
rs_sogo() {
    local tables="postgresql://sogo@127.0.0.1:$RS_DB_PORT/postgres"
    HOME=$RS_DIR/sogo rs_launch sogo setpriv --reuid=sogo --regid=sogo --clear-groups /usr/sbin/sogod \
        -WONoDetach YES -WOWorkersCount 2 -WOPort "127.0.0.1:$RS_SOGO_PORT" \
        -WOPidFile "$RS_DIR/sogo/sogo.pid" -WOLogFile - \
        -SOGoProfileURL "$tables/sogo_user_profile" -OCSFolderInfoURL "$tables/sogo_folder_info" \
        -OCSSessionsFolderURL "$tables/sogo_sessions_folder" -OCSEMailAlarmsFolderURL "$tables/sogo_alarms" \
        -SOGoMemcachedHost "$RS_DIR/sogo/cache.sock" -SOGoIMAPServer "imap://127.0.0.1:$RS_IMAP_A_PORT" \
        -SOGoUserSources "$(<"$RS_DIR/sogo/sources.plist")"
}

# shellcheck source=more.sh
. "$RS_HOME/more.sh"

# Stops services by their recorded PIDs: first SIGNAL, then after 8 s KILL to
# the process group that the service was started in.
rs_stop() { # SIGNAL NAME...
    local sig=$1 name pid end
    local -A left=()
    shift
    for name in "$@"; do
        if pid=$(rs_pid "$name"); then
            if [ "$sig" = KILL ]; then
                kill -KILL -- "-$pid" 2>/dev/null || true
            else
                kill "-$sig" "$pid" 2>/dev/null || true
                kill -CONT -- "-$pid" 2>/dev/null || true
            fi
            left[$name]=$pid
        else
            rm -f "$RS_DIR/pids/$name"
        fi
    done
    end=$((SECONDS + 8))
    while [ ${#left[@]} -gt 0 ]; do
        for name in "${!left[@]}"; do
            if ! rs_pid "$name" >/dev/null; then
                rm -f "$RS_DIR/pids/$name"
                unset "left[$name]"
            elif [ $SECONDS -ge $end ]; then
                say "$name (PID ${left[$name]}) did not stop; killing its process group"
                kill -KILL -- "-${left[$name]}" 2>/dev/null || true
            fi
        done
        [ ${#left[@]} -eq 0 ] || sleep 0.05
    done
}

rs_lock() { # one up, down or ctl at a time
    mkdir -p "$(dirname "$RS_DIR")"
    exec 9>"$RS_DIR.lock"
    flock -w 60 9 || die "another run holds $RS_DIR.lock"
}

# Picks the ports and keeps them: see tools/keeper.py.
rs_keep() {
    local s name port pid
    local -a words=()
    for s in "${RS_PORTS[@]}"; do words+=("$s=${!s}"); done
    mkfifo "$RS_DIR/picked"
    "${RS_BEGIN[@]}" python3 "$RS_HOME/tools/keeper.py" "$RS_DIR" "$RS_NODE_A_ADDR" "$RS_NODE_B_ADDR" "$RS_OWNER" "${words[@]}" \
        </dev/null >"$RS_DIR/picked" 2>>"$RS_DIR/log/keeper.out" 9>&- &
    pid=$!
    echo "$pid $(rs_birth "$pid" || echo 0)" >"$RS_DIR/pids/keeper"
    while IFS='=' read -r name port; do printf -v "$name" '%s' "$port"; done <"$RS_DIR/picked"
    rm "$RS_DIR/picked"
    rs_pid keeper >/dev/null || { cat "$RS_DIR/log/keeper.out" >&2; die "no ports"; }
}

# Ports that were not asked for by number are those that were picked at the start.
rs_known_ports() {
    local name value
    while IFS='=' read -r name value; do
        case " ${RS_PORTS[*]} " in *" $name "*) [ "${!name}" != 0 ] || printf -v "$name" '%s' "$value" ;; esac
    done <"$RS_DIR/settings"
}

rs_settings() {
    local s
    for s in "${RS_SETTINGS[@]}"; do printf '%s=%q\n' "$s" "${!s}"; done
}
