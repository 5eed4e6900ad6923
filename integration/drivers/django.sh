# Django's tests of backends, writes, locks, transactions and what only PostgreSQL has, with psycopg 3 and both of its
# ways to bind parameters.
install() {
	environment "psycopg[binary]==3.2.10" psycopg-pool==3.2.6 unittest-xml-reporting==3.2.0 asgiref==3.9.2 sqlparse==0.5.3 jinja2==3.1.6 tzdata==2025.2 PyYAML==6.0.3
	source_of django 5.2.8
	environment/bin/pip install --quiet --disable-pip-version-check --no-input --no-build-isolation --no-deps ./source
}

tests() {
	cat >source/tests/pgtee_settings.py <<-SETTINGS
		import os
		server = {"ENGINE": "django.db.backends.postgresql", "HOST": os.environ["PGHOST"], "PORT": os.environ["PGPORT"], "USER": "postgres",
		          "OPTIONS": {"server_side_binding": os.environ["BINDING"] == "server"}}
		DATABASES = {"default": {**server, "NAME": "django"}, "other": {**server, "NAME": "django2"}}
		SECRET_KEY = "django_tests_secret_key"
		PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
		DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
		USE_TZ = False
		TEST_RUNNER = "xmlrunner.extra.djangotestrunner.XMLTestRunner"
		TEST_OUTPUT_FILE_NAME = os.environ["XML"]
	SETTINGS
	cd source/tests
	local BINDING XML
	for BINDING in client server; do
		XML=$REPORT.$BINDING
		BINDING=$BINDING XML=$XML ../../environment/bin/python runtests.py --settings pgtee_settings --parallel 1 --keepdb --noinput \
			backends bulk_create constraints get_or_create multiple_database postgres_tests raw_query select_for_update \
			transaction_hooks transactions update || true
		sed "s/classname=\"/&$BINDING /g" "$XML" >>"$REPORT"
	done
}
