<?php
// The library of Roundcube's filters (Net_Sieve): net_sieve.php CA PORT USER PASSWORD
[, $ca, $port, $user, $password] = $argv;
error_reporting(E_ALL & ~E_DEPRECATED);
require 'Net/Sieve.php';
$script = "require \"fileinto\";\r\n" . str_repeat('# ' . str_repeat('x', 70) . "\r\n", 200);
$options = ['ssl' => ['verify_peer' => true, 'verify_peer_name' => true, 'cafile' => $ca]];
function good($result) {
    if ($result instanceof PEAR_Error) {
        fwrite(STDERR, $result->getMessage() . "\n");
        exit(1);
    }
    return $result;
}
$wrong = new Net_Sieve();
good($wrong->connect('localhost', $port, $options, true));
if (!($wrong->login($user, 'certainly not', 'PLAIN') instanceof PEAR_Error)) {
    exit(2);
}
$sieve = new Net_Sieve();
good($sieve->connect('localhost', $port, $options, true));
if (!in_array('fileinto', array_map('strtolower', good($sieve->getExtensions())))) {
    exit(3);
}
good($sieve->login($user, $password, 'PLAIN'));
good($sieve->installScript('by-php', $script, true));
if (rtrim(good($sieve->getScript('by-php'))) !== rtrim($script)) {
    exit(4);
}
if (!in_array('by-php', good($sieve->listScripts()))) {
    exit(5);
}
good($sieve->setActive(''));
good($sieve->removeScript('by-php'));
good($sieve->disconnect());
echo "good\n";
