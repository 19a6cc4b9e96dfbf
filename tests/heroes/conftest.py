"""The application and its users, for the tests of the domain."""

from tests import application
from tests.heroes import people

app, client, database = application.app, application.client, application.database
production_app, guarded, nobody = people.production_app, people.guarded, people.nobody
boss, natasha, steve = people.boss, people.natasha, people.steve
