"""The application and its users, for the tests of the domain."""

from tests import accounts, application, people

app, client, database = application.app, application.client, application.database
production_app, guarded, new_person = accounts.production_app, accounts.guarded, accounts.new_person
anonymous, superuser, natasha, steve = people.anonymous, people.superuser, people.natasha, people.steve
