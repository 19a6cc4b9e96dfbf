"""A handful of teams and heroes for the first look around; never put where there are rows already."""

from sqlmodel import select

from heroes.hero import Hero, HeroCreate
from heroes.kit.database import Database
from heroes.team import Team, TeamCreate

TEAMS = (
    TeamCreate(name="Z-Force", headquarters="Sister Margaret's Bar"),
    TeamCreate(name="Wonderful League", headquarters="Hall of Kindness, 3rd floor"),
)
HEROES = (
    (0, HeroCreate(name="Rusty-Man", secret_name="Tommy Sharp", age=48, power=120)),
    (0, HeroCreate(name="Dr. Weird", secret_name="Steve Weird", age=44, power=310)),
    (1, HeroCreate(name="Tarantula", secret_name="Natalia Roman-on", age=32, power=80)),
    (1, HeroCreate(name="Spider-Boy", secret_name="Pedro Parqueador", age=17, power=95)),
    (None, HeroCreate(name="Captain North America", secret_name="Esteban Rogelios", power=150)),
)


async def fill(database: Database) -> None:
    async with database.write() as session, session.begin():
        await session.exclusive("demo data")
        if (await session.exec(select(Team.id).limit(1))).first() or (
            await session.exec(select(Hero.id).limit(1))
        ).first():
            return
        teams = [Team.model_validate(team) for team in TEAMS]
        session.add_all(teams)
        await session.flush()
        session.add_all(
            Hero.model_validate(hero, update={"team_id": None if team is None else teams[team].id})
            for team, hero in HEROES
        )
