#!/bin/sh
# The command from outside: exit statuses, messages, files. From the project's root: tests/cli/run.sh PATH/TO/versavit
# The parts come in the order of this list: later ones read the models and the pictures that earlier ones have made in $T.
. tests/cli/shared.sh
for part in usage models tokenize encode depth embed_text segment ask measure golden ends; do
    . "tests/cli/parts/$part.sh"
done
finish
