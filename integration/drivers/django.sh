# Django's tests of everything that talks to a server, with psycopg 3 and both of its ways to bind parameters.
install() {
	environment "psycopg[binary]==3.2.10" unittest-xml-reporting==3.2.0 asgiref==3.9.2 sqlparse==0.5.3 jinja2==3.1.6 tzdata==2025.2 PyYAML==6.0.3
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
		BINDING=$BINDING XML=$XML ../../environment/bin/python -P runtests.py --settings pgtee_settings --parallel 1 --keepdb --noinput \
			aggregation annotations backends basic bulk_create constraints custom_pk datatypes db_functions delete expressions \
			fixtures get_or_create indexes inspectdb introspection lookup many_to_many migrations model_fields \
			multiple_database postgres_tests prefetch_related queries raw_query schema select_for_update transaction_hooks transactions update || true
		sed "s/classname=\"/&$BINDING /g" "$XML" >>"$REPORT"
	done
}
