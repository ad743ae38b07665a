#!/bin/sh
# Once, on one node of a running RabbitMQ: the user that Campanile's nodes have, the one that listeners of other programs
# have, and where the listeners' messages go that they gave up. The two passwords come from the environment:
#     CAMPANILE_PASSWORD=… LISTENERS_PASSWORD=… sh setup.sh
set -eu

add() {
    printf '%s' "$2" | rabbitmqctl add_user "$1"
}

add campanile "${CAMPANILE_PASSWORD:?the password of the user campanile}"
add listeners "${LISTENERS_PASSWORD:?the password of the user listeners}"

# To make, to write to, to read from. What is sent to a queue goes through the exchange without a name, amq.default.
rabbitmqctl set_permissions campanile '^(campanile|legacy)\.' '^(amq\.default$|(campanile|legacy)\.)' '^(campanile|legacy)\.'
# Listeners make and read their own queues, and answer; they can't read Campanile's.
rabbitmqctl set_permissions listeners '^legacy\.' '^(amq\.default$|legacy\.)' '^legacy\.'

# A queue of its own takes what a listener of legacy.mail gave up. One line for each such queue.
rabbitmqctl set_policy dead-letters-of-legacy.mail '^legacy\.mail$' \
    '{"dead-letter-exchange": "", "dead-letter-routing-key": "legacy.DLQ.mail"}' --apply-to queues

# Its password is known to everybody.
rabbitmqctl delete_user guest
