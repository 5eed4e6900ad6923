# What the suites in Python share.

# environment PACKAGE... makes a virtual environment with the packages, each with its version.
environment() {
	python3 -m venv environment
	environment/bin/pip install --quiet --disable-pip-version-check --no-input setuptools==80.9.0 wheel==0.45.1 pytest==8.4.2 "$@"
}

# source_of PACKAGE VERSION unpacks what its authors published, where the tests are, as folder source.
source_of() {
	environment/bin/pip download --quiet --disable-pip-version-check --no-input --no-deps --no-build-isolation --no-binary :all: "$1==$2"
	tar xzf ./*.tar.gz
	rm ./*.tar.gz
	mv ./*-"$2" source
}

# pytest ARGUMENT... runs tests with the installed package, not the source beside them.
pytest() { ../environment/bin/python -P -m pytest -q -p no:cacheprovider --junitxml="$REPORT" "$@"; }
