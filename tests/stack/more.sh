# shellcheck shell=bash
# Servers that `up` does not start unless they are named: sourced by lib.sh, not run.

# Cyrus: JMAP and DAV over HTTP. Its passwords are those of data/users.json, its messages those of node A.
rs_cyrus() {
    local d=$RS_DIR/cyrus
    [ -x /usr/lib/cyrus/bin/httpd ] || die "Cyrus is missing: run install first"
    if [ ! -e "$d/sasldb2" ]; then
        mkdir -p "$d"/{conf,spool,sieve,run/proc,run/lock}
        python3 "$RS_HOME/tools/cyrus.py" passwords "$RS_DIR" || die "Cyrus has no passwords"
        chown -R cyrus:mail "$d"
    fi
    rs_launch cyrus /usr/lib/cyrus/bin/master -D -C "$d/imapd.conf" -M "$d/cyrus.conf" -p "$d/run/master.pid"
    [ -e "$d/filled" ] || rs_launch cyrus-fill python3 "$RS_HOME/tools/cyrus.py" fill "$RS_DIR"
}

# The parts of sqwebmail: who checks passwords (sqauth), the webmail (sqmail), its web server (sqweb). Courier's programs
# know fixed folders only, so each part sees ours in their place.
rs_sqwebmail() {
    local d=$RS_DIR/sqwebmail command
    [ -e "$d" ] || die "sqwebmail is missing: run install first"
    case $1 in
        sqauth) command=/usr/lib/courier/courier-authlib/authdaemond ;;
        sqmail) command=/usr/lib/courier/courier/sqwebmaild ;;
        sqweb) command="lighttpd -D -f $d/lighttpd.conf" ;;
    esac
    # shellcheck disable=SC2016  # it is the inner shell that fills these
    rs_launch "$1" unshare --mount --propagation private bash -c '
        set -e
        mount --bind "$1/etc" /etc/courier
        mount --bind "$1/run" /run/courier
        mount --bind "$1/cache" /var/cache/sqwebmail
        [ -e /etc/courier/userdb.dat ] || makeuserdb
        set -a
        . /etc/courier/authdaemonrc
        . /etc/courier/sqwebmaild
        exec $2' bash "$d" "$command"
}

# Postfix, whose folders its own script makes; it logs to standard output.
rs_postfix() {
    local d=$RS_DIR/postfix
    [ -x /usr/lib/postfix/sbin/master ] || die "Postfix is missing: run install first"
    mkdir -p "$d"/{queue,data}
    chown postfix: "$d/data"
    postfix -c "$d" check >>"$RS_DIR/log/postfix.out" 2>&1 || die "Postfix: see $RS_DIR/log/postfix.out"
    rs_launch postfix /usr/lib/postfix/sbin/master -c "$d" -d
}

# Radicale, of PyPI: CalDAV and CardDAV. As root, since nobody else may be let into the folder of its programs.
rs_radicale() {
    [ -x "$RS_HOME/venv/bin/python" ] || die "Radicale is missing: run install first"
    rs_launch radicale "$RS_HOME/venv/bin/python" -m radicale --config "$RS_DIR/radicale/config"
}

# PHP for Horde, which node A's nginx asks. Horde is copied, since it wants its settings among its programs.
rs_horde() {
    local d=$RS_DIR/horde app c
    if [ ! -e "$d/www" ]; then
        mkdir -p "$d"/{log,temp,sessions,data,sub,static}
        cp -a /usr/share/horde "$d/new"
        ln -s ../www "$d/sub/horde"
        ln -s /usr/share/javascript "$d/javascript"    # js/prototype.js leads there
        rm -rf "$d/new/static" "$d/new/.htaccess"
        ln -s ../static "$d/new/static"
        for app in . imp; do
            c=$d/new/$app/config
            rm -f "$c"
            cp -aL "/etc/horde/${app/./horde}" "$c"
            rm -f "$c"/{conf,registry.local,backends.local}.php
        done
        cp "$d"/{conf,registry}.local.php "$d/new/config/"
        cp "$d/backends.local.php" "$d/new/imp/config/"
        chown -R www-data:www-data "$d"/{log,temp,sessions,data,static,new/config,new/imp/config}
        mv "$d/new" "$d/www"
        # The defaults of conf.xml, as Horde's own setup page would write them.
        setpriv --reuid=www-data --regid=www-data --clear-groups -- \
            php8.2 "$RS_HOME/conf/horde/defaults.php" "$d/www" >"$RS_DIR/log/horde.out" 2>&1 ||
            die "Horde's settings cannot be written: see $RS_DIR/log/horde.out"
    fi
    rm -f "$d/php.sock"
    rs_launch horde php-fpm8.2 --nodaemonize --fpm-config "$d/php-fpm.conf"
}
