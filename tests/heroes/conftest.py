"""The application and its users, for the tests of the domain."""

from tests import application, people
from tests.heroes import people as users

app, client, database = application.app, application.client, application.database
production_app, guarded, new_person = users.production_app, users.guarded, users.new_person
anonymous, superuser, natasha, steve = people.anonymous, people.superuser, people.natasha, people.steve
